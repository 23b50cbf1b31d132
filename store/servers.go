package store

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// reserves is how many hosts have a certificate to become members of the embedded etcd beyond those that are or are about to be, so
// that dead members are replaced when nobody holds the authority's key any more.
const reserves = 2

// certifyServer makes the certificate (DER) by which a host is a member of the embedded etcd, for the key in the certificate that it
// has as a host. It lives as long as the authority: a lost key of the authority must not end etcd.
func (ca CA) certifyServer(hostCert []byte, addrs []netip.Addr) ([]byte, error) {
	parent, key, err := keyPair(ca.Cert, ca.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	host, err := x509.ParseCertificate(hostCert)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	public, ok := host.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("certificate: not Ed25519")
	}
	template := hostTemplate(ca.Environment, host.Subject.CommonName, "")
	template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	template.DNSNames = []string{ServerName}
	for _, a := range addrs { // clients don't ask for them, but a copy of the host looks there for the original
		template.IPAddresses = append(template.IPAddresses, net.IP(a.AsSlice()))
	}
	der, err := certify(template, parent, public, key, min(CATTL, time.Until(parent.NotAfter)))
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return der, nil
}

// verifyServerCert checks that the authority has made the host a possible member, and returns the host's key.
func (t *trust) verifyServerCert(der []byte, host string) (ed25519.PublicKey, error) {
	public, err := t.verifyCert(der, host)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		return nil, errors.New("its certificate is not that of a server")
	}
	return public, cert.VerifyHostname(ServerName)
}

// certified says whether the authority has made a host a possible member, for the key that the host has now; present: the authority
// that there is now, not one before it.
func (s *Snapshot) certified(id Identity, host string, present bool) bool {
	if present {
		if pem := id.CA; len(pem) > 0 {
			if der, err := CertDER(pem); err == nil {
				id.CA = encodePEM(pemCert, der)
			}
		}
	}
	public, err := judge(id).verifyServerCert(s.Servers[host], host)
	if err != nil {
		return false
	}
	cert, err := x509.ParseCertificate(s.Hosts[host].Cert)
	return err == nil && public.Equal(cert.PublicKey)
}

// certifyServers publishes, where the authority's key is, the certificates of members and of those who are the next to be.
func (s *Store) certifyServers(ctx context.Context) error {
	id, snap := s.cp.Local().Identity, s.Snapshot()
	ca, err := id.Authority()
	if err != nil || len(snap.Members) == 0 {
		return nil // another host's work, or an etcd of the operator's own
	}
	var errs []error
	room := s.cfg.Members + reserves
	for _, h := range snap.suitable() {
		next := s.cfg.Members > 1 && snap.Alive[h.ID] && room > 0
		if snap.Alive[h.ID] { // those that were switched off are no reserve
			room--
		}
		if !next && !snap.IsMember(h.ID) || snap.certified(id, h.ID, true) {
			continue
		}
		der, err := ca.certifyServer(h.Cert, h.Addrs)
		if err == nil {
			value := string(mustEncode(Renewal{V: Version, Host: h.ID, Cert: der}))
			_, err = s.commit(ctx, nil, []clientv3.Op{clientv3.OpPut(s.key(serverKey(h.ID)), value)}, nil)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// keepServers does that whenever facts have changed.
func (s *Store) keepServers(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var done *Snapshot
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		snap := s.Snapshot()
		if snap == done || snap.Empty() || snap.FromDisk {
			continue
		}
		if err := s.certifyServers(ctx); err != nil {
			s.log.WithError(err).Debug("certificates of etcd's members are not issued, trying again")
			continue
		}
		done = snap
	}
}

// Server is the certificate, PEM, by which this host may be a member of the embedded etcd, for the key of its identity; nil: it has
// none of an authority that is believed.
func (s *Store) Server() []byte {
	id := s.cp.Local().Identity
	der := s.Snapshot().Servers[s.cfg.Self]
	public, err := judge(id).verifyServerCert(der, s.cfg.Self)
	mine, err2 := id.signer()
	if err != nil || err2 != nil || !bytes.Equal(public, mine) {
		return nil
	}
	return encodePEM(pemCert, der)
}
