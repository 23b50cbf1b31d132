package store

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// renewEvery is how often certificates are looked at.
const renewEvery = time.Hour

// Renewal is the fact certs/<host-id>: a new certificate for the key that the host has. It speaks for itself, for the
// authority has signed it.
type Renewal struct {
	V    int    `json:"v"`
	Host string `json:"host"`
	Cert []byte `json:"cert"` // DER
}

// Renew issues a host's certificate (DER) anew for the same key, if it is one of this authority.
func (ca CA) Renew(der []byte) (renewed []byte, err error) {
	old, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	parent, key, err := keyPair(ca.Cert, ca.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	if err := old.CheckSignatureFrom(parent); err != nil {
		return nil, fmt.Errorf("certificate of another authority: %w", err)
	}
	public, ok := old.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("certificate: not Ed25519")
	}
	template := hostTemplate(ca.Environment, old.Subject.CommonName, "")
	template.Subject = old.Subject
	renewed, err = certify(template, parent, public, key, min(HostTTL, time.Until(parent.NotAfter)))
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return renewed, nil
}

// isDue says whether less than a third of a certificate's life is left.
func isDue(der []byte, now time.Time) bool {
	cert, err := x509.ParseCertificate(der)
	return err == nil && cert.NotAfter.Sub(now) < cert.NotAfter.Sub(cert.NotBefore)/3
}

// keepCerts takes up this host's own renewals and, where the authority is, renews those of all hosts in good time.
func (s *Store) keepCerts(ctx context.Context) error {
	changed := s.Subscribe()
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	due := true
	for {
		if err := s.takeRenewal(); err != nil {
			s.complain(err)
		}
		if due && !s.Snapshot().Empty() && !s.Snapshot().FromDisk {
			due = false
			if err := s.renewDue(ctx, time.Now()); err != nil {
				s.log.WithError(err).Warn("certificates of hosts are not renewed, trying again in an hour")
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C:
			due = true
		}
	}
}

// renewDue publishes new certificates for the hosts whose own end soon.
func (s *Store) renewDue(ctx context.Context, now time.Time) error {
	ca, err := s.cp.Local().Identity.Authority()
	if err != nil {
		return nil // another host's work
	}
	snap := s.Snapshot()
	var errs []error
	for _, host := range slices.Sorted(maps.Keys(snap.Hosts)) {
		cert := snap.Hosts[host].Cert
		if waiting := snap.Certs[host]; !isDue(cert, now) || waiting != nil && !isDue(waiting, now) {
			continue
		}
		renewed, err := ca.Renew(cert)
		if err != nil {
			errs = append(errs, fmt.Errorf("host %s: %w", host, err))
			continue
		}
		value := mustEncode(Renewal{V: Version, Host: host, Cert: renewed})
		_, err = s.commit(ctx, nil, []clientv3.Op{clientv3.OpPut(s.key(certKey(host)), string(value))}, nil)
		if err == nil {
			s.log.WithField("host", host).Info("certificate renewed")
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// takeRenewal puts a renewed certificate of this host into the Checkpoint, from where the publisher takes it.
func (s *Store) takeRenewal() error {
	offered := s.Snapshot().Certs[s.cfg.Self]
	id := s.cp.Local().Identity
	if offered == nil || s.Removed() != nil {
		return nil
	}
	mine, err := parseCert(id.Cert)
	if err != nil || bytes.Equal(mine.Raw, offered) {
		return err
	}
	judge := trust{environment: s.cfg.Environment, authority: func() []byte { return id.CA }, now: time.Now}
	public, err := judge.verifyCert(offered, s.cfg.Self)
	if err != nil {
		return fmt.Errorf("the renewed certificate of this host is not taken: %w", err)
	}
	cert, err := x509.ParseCertificate(offered)
	if err != nil || !public.Equal(mine.PublicKey) || !cert.NotAfter.After(mine.NotAfter) {
		return err // an old one, or for the key that this host had
	}
	return s.cp.Update(func(l *Local) error {
		if bytes.Equal(l.Identity.Key.Bytes, id.Key.Bytes) {
			l.Identity.Cert = encodePEM(pemCert, offered)
		}
		return nil
	})
}

// ClientTLS is how this host reaches the environment's own etcd, with the certificate that it has at the time.
func (c *Checkpoint) ClientTLS() (*tls.Config, error) {
	config, err := c.Local().Identity.ClientTLS()
	if err != nil {
		return nil, err
	}
	config.Certificates = nil
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		id := c.Local().Identity
		pair, err := tls.X509KeyPair(id.Cert, id.Key.Bytes)
		return &pair, err
	}
	return config, nil
}

// After returns the identity of a host that has joined with a newer token, or with the same one again: peers know its
// handshake key and router address, and what it was given since is not lost.
func (id Identity) After(old Identity) Identity {
	id.Private, id.Router, id.Since = old.Private, old.Router, old.Since
	if bytes.Equal(id.CA, old.CA) {
		id.CAKey, id.Exported, id.Imported = old.CAKey, old.Exported, old.Imported
	}
	have, err1 := old.Expires()
	offered, err2 := id.Expires()
	if bytes.Equal(id.Key.Bytes, old.Key.Bytes) && err1 == nil && err2 == nil && have.After(offered) {
		id.Cert = old.Cert // it was renewed
	}
	return id
}
