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

// Renew issues a host's certificate (DER) anew for the same key, if it is one of this authority or of one before it that is
// still believed.
func (ca CA) Renew(der []byte) (renewed []byte, err error) {
	old, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	parent, key, err := keyPair(ca.Cert, ca.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	if believed, err := parseCerts(ca.Cert); err != nil || !signedByAny(old, believed) {
		return nil, errors.New("certificate of another authority")
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

// isDue says whether less than a third of a certificate's life is left, or its authority was replaced.
func (ca CA) isDue(der []byte, now time.Time) bool {
	cert, err1 := x509.ParseCertificate(der)
	present, err2 := parseCert(ca.Cert)
	return err1 == nil && err2 == nil && (!now.Before(renewFrom(cert)) || cert.CheckSignatureFrom(present) != nil)
}

// renewFrom is when a certificate is to be renewed: when two thirds of its life are over.
func renewFrom(cert *x509.Certificate) time.Time {
	return cert.NotAfter.Add(-cert.NotAfter.Sub(cert.NotBefore) / 3)
}

// keepCerts takes up this host's own renewals and, where the authority is, renews those of all hosts in good time.
func (s *Store) keepCerts(ctx context.Context) error {
	changed := s.Subscribe()
	tick := time.NewTimer(0)
	defer tick.Stop()
	due, replaced := false, false
	var known []byte
	for {
		if err := s.takeRenewal(); err != nil {
			s.complain(err)
		}
		if pem := s.cp.Local().Identity.CA; !bytes.Equal(pem, known) {
			roots, err := parseCerts(pem)
			known, replaced = pem, err == nil && len(roots) > 1
		}
		if replaced {
			due = true // while an authority is replaced, every host that comes gets a certificate at once
		}
		if due && !s.Snapshot().Empty() && !s.Snapshot().FromDisk {
			due = false
			if err := s.renewDue(ctx, time.Now()); err != nil {
				s.log.WithError(err).Warn("certificates of hosts are not renewed, trying again")
				tick.Reset(s.cfg.pingEvery())
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C:
			due = true
			tick.Reset(renewEvery)
		}
	}
}

// renewDue publishes new certificates for the hosts whose own end soon.
func (s *Store) renewDue(ctx context.Context, now time.Time) error {
	ca, err := s.cp.Local().Identity.Authority()
	if err != nil {
		return nil // another host's work
	}
	_, err = s.renew(ctx, ca, func(der []byte) bool { return ca.isDue(der, now) })
	return errors.Join(err, s.resignRevocations(ctx))
}

// RenewAll gives every host a new certificate, in the name of the environment's authority, and returns how many there were.
func (s *Store) RenewAll(ctx context.Context, ca CA) (n int, err error) {
	start := time.Now()
	return s.renew(ctx, ca, func(der []byte) bool {
		cert, err := x509.ParseCertificate(der)
		return err == nil && cert.NotBefore.Before(start.Add(-clockSlack))
	})
}

// renew publishes new certificates for the hosts whose own are due, unless such a one is waiting there already.
func (s *Store) renew(ctx context.Context, ca CA, due func(der []byte) bool) (n int, err error) {
	snap := s.Snapshot()
	var errs []error
	for _, host := range slices.Sorted(maps.Keys(snap.Hosts)) {
		cert := snap.Hosts[host].Cert
		if waiting := snap.Certs[host]; !due(cert) || waiting != nil && !due(waiting) {
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
			n++
			s.log.WithField("host", host).Info("certificate renewed")
		}
		errs = append(errs, err)
	}
	return n, errors.Join(errs...)
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
	public, err := judge(id).verifyCert(offered, s.cfg.Self)
	if err != nil {
		return fmt.Errorf("the renewed certificate of this host is not taken: %w", err)
	}
	cert, err := x509.ParseCertificate(offered)
	if err != nil || !public.Equal(mine.PublicKey) || !id.isBetter(cert, mine) {
		return err // an old one, or for the key that this host had
	}
	return s.cp.Update(func(l *Local) error {
		if bytes.Equal(l.Identity.Key.Bytes, id.Key.Bytes) {
			l.Identity.Cert = encodePEM(pemCert, offered)
		}
		return nil
	})
}

// isBetter says whether a certificate of this host is to take the place of the one that it has: it ends later, or it is the
// first one of the present authority.
func (id Identity) isBetter(offered, have *x509.Certificate) bool {
	present, err := parseCert(id.CA)
	if err != nil {
		return false
	}
	was, is := have.CheckSignatureFrom(present) == nil, offered.CheckSignatureFrom(present) == nil
	return is && !was || is == was && offered.NotAfter.After(have.NotAfter)
}

// ClientTLS is how this host reaches the environment's own etcd, with the certificate that it has at the time.
func (c *Checkpoint) ClientTLS() (*tls.Config, error) {
	config, err := c.Local().Identity.ClientTLS()
	if err != nil {
		return nil, err
	}
	config.Certificates = nil
	// The authority may be replaced while the agent runs.
	config.InsecureSkipVerify = true
	config.VerifyConnection = c.verifyServer
	config.GetClientCertificate = c.clientCertificate
	return config, nil
}

// ExternalTLS is how an etcd of the operator's own is reached, by LoadTLS. Without files of a certificate this host shows its
// own to a server that asks for one of the environment's authority.
func (c *Checkpoint) ExternalTLS(caFile, certFile, keyFile string) (*tls.Config, error) {
	config, err := LoadTLS(caFile, certFile, keyFile)
	if err == nil && certFile == "" {
		config.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := c.clientCertificate(info)
			if err != nil || info.SupportsCertificate(pair) != nil {
				return &tls.Certificate{}, err
			}
			return pair, nil
		}
	}
	return config, err
}

// clientCertificate is the one that the host has at the time.
func (c *Checkpoint) clientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	id := c.Local().Identity
	pair, err := tls.X509KeyPair(id.Cert, id.Key.Bytes)
	return &pair, err
}

// verifyServer holds an etcd server's certificate against what this host believes at the time.
func (c *Checkpoint) verifyServer(state tls.ConnectionState) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(c.Local().Identity.CA)
	for _, cert := range state.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: ServerName, Roots: roots, Intermediates: between})
	return err
}

// After returns the identity of a host that has joined with a newer token, or with the same one again: peers know its
// handshake key and router address, and what it was given since is not lost.
func (id Identity) After(old Identity) Identity {
	id.Private, id.Router, id.Since, id.EngineAPI = old.Private, old.Router, old.Since, old.EngineAPI
	der, err := CertDER(id.CA)
	if err == nil && old.believes(der) || bytes.Equal(id.Key.Bytes, old.Key.Bytes) { // the authority may have been replaced since
		id.CA, id.CAFact, id.Founder = old.CA, old.CAFact, old.Founder
		id.CAKey, id.Exported, id.Imported = old.CAKey, old.Exported, old.Imported
		id.NextCA, id.NextKey = old.NextCA, old.NextKey
		id.Member = old.Serves() // JOIN stays set where etcd has grown onto the host since; a founder has Endpoints from now on
		if old.CASince.After(id.CASince) {
			id.CASince = old.CASince
		}
	}
	have, err1 := parseCert(old.Cert)
	offered, err2 := parseCert(id.Cert)
	if bytes.Equal(id.Key.Bytes, old.Key.Bytes) && err1 == nil && err2 == nil && !id.isBetter(offered, have) {
		id.Cert = old.Cert // it was renewed
	}
	return id
}
