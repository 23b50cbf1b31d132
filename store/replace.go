package store

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ReplaceAuthority makes a new authority for the environment, whose key is on this host alone, and returns when this host
// believes it. ca is the present one, with its key. From then on both are believed, and every host gets a certificate of the
// new one, until RetireAuthority. After an error it may be called again; a host that ended in the middle finishes it.
func (s *Store) ReplaceAuthority(ctx context.Context, ca CA) error {
	old, signer, err := keyPair(ca.Cert, ca.Key)
	if err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	r, id, err := s.currentAuthority(ctx, old)
	if err != nil {
		return err
	}
	next, err := NewCA(s.cfg.Environment)
	if err != nil {
		return err
	}
	cert, key, err := keyPair(next.Cert, next.Key)
	if err != nil {
		return err
	}
	a, err := succession(old, signer, cert, id)
	if err != nil {
		return err
	}
	// The key is on disk before anybody can believe it.
	err = s.cp.Update(func(l *Local) error {
		l.Identity.NextCA, l.Identity.NextKey = next.Cert, next.Key
		return nil
	})
	if err != nil {
		return err
	}
	return s.putAuthority(ctx, r, a, key.(ed25519.PrivateKey))
}

// succession is the word by which an authority (cert) replaces the present one of an identity (old).
func succession(old *x509.Certificate, signer crypto.Signer, cert *x509.Certificate, id Identity) (a authority, err error) {
	template := &x509.Certificate{Subject: cert.Subject, KeyUsage: cert.KeyUsage, BasicConstraintsValid: true, IsCA: true}
	cross, err := certify(template, old, cert.PublicKey.(ed25519.PublicKey), signer, min(CATTL, time.Until(old.NotAfter)))
	if err != nil {
		return a, fmt.Errorf("certificate authority: %w", err)
	}
	a = authority{V: Version, Cert: cert.Raw, Cross: [][]byte{cross}, Since: after(id.wordSince())}
	if fact, err := decodeValue(factKey{kind: kindCA}, id.CAFact); err == nil {
		a.Cross = append(a.Cross, fact.(authority).Cross...)
	}
	believed, err := parseCerts(id.CA)
	if err != nil {
		return a, fmt.Errorf("certificate authority: %w", err)
	}
	for _, c := range believed {
		a.Before = append(a.Before, c.Raw)
	}
	return a, nil
}

// after is a time for the next word about the authority, the last being of a time, be this host's clock behind or not.
func after(last time.Time) time.Time {
	if now := time.Now().UTC(); now.After(last) {
		return now
	}
	return last.Add(1)
}

// RetireAuthority ends the belief in the authorities before the present one. Hosts that have no certificate of that are cut
// off; unless force, they are named in an error and nothing is changed.
func (s *Store) RetireAuthority(ctx context.Context, ca CA, force bool) error {
	cert, signer, err := keyPair(ca.Cert, ca.Key)
	if err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	r, id, err := s.currentAuthority(ctx, cert)
	if err != nil {
		return err
	}
	fact, err := decodeValue(factKey{kind: kindCA}, id.CAFact)
	if err != nil || len(fact.(authority).Before) == 0 {
		return errors.New("there is no older authority that is still believed: `meshsec ca replace` comes first")
	}
	if late := notOf(cert, s.Snapshot()); len(late) > 0 && !force {
		return fmt.Errorf("these hosts have no certificate of the new authority yet and would be cut off: %s. Wait for them, remove them, or use --force",
			strings.Join(late, ", "))
	}
	a := fact.(authority)
	a.Before, a.Since, a.Sig = nil, after(id.wordSince()), nil
	return s.putAuthority(ctx, r, a, signer.(ed25519.PrivateKey))
}

// currentAuthority checks that the authority is the present one, for this host as in etcd, and returns etcd's revision of it.
func (s *Store) currentAuthority(ctx context.Context, cert *x509.Certificate) (revision int64, id Identity, err error) {
	id = s.cp.Local().Identity
	if der, err := CertDER(id.CA); err != nil || !bytes.Equal(der, cert.Raw) {
		return 0, id, errors.New("certificate authority: it is not the present one of this environment")
	}
	r, err := s.get(ctx, s.key(factKey{kind: kindCA}))
	if err != nil {
		return 0, id, err
	}
	if len(r.Kvs) == 0 {
		return 0, id, errors.New("etcd does not hold this environment's authority: try again in a moment")
	}
	if _, err := judge(id).openCA(r.Kvs[0].Value); err != nil {
		return 0, id, fmt.Errorf("etcd's word of the authority: %w", err)
	}
	return r.Kvs[0].ModRevision, id, nil
}

// putAuthority publishes a word of the authority in the place of the one at the revision, and waits until this host believes it.
func (s *Store) putAuthority(ctx context.Context, revision int64, a authority, key ed25519.PrivateKey) error {
	changed := s.cp.Subscribe()
	full := s.key(factKey{kind: kindCA})
	value := seal(key, s.cfg.Environment, kindCA, mustEncode(a))
	if len(value) > maxValue {
		return errors.New("certificate authority: it was replaced too often")
	}
	same := clientv3.Compare(clientv3.ModRevision(full), "=", revision)
	r, err := s.commit(ctx, []clientv3.Cmp{same}, []clientv3.Op{clientv3.OpPut(full, string(value))}, []clientv3.Op{clientv3.OpGet(full)})
	if err != nil {
		return err
	}
	if !r.Succeeded {
		if kv := first(r, 0); kv == nil || !bytes.Equal(kv.Value, value) {
			return errors.New("the authority has been changed on another host at the same time: see `meshsec status`")
		}
	}
	for !bytes.Equal(s.cp.Local().Identity.CAFact, value) {
		select {
		case <-changed:
		case <-ctx.Done():
			return errors.New("the authority is changed in etcd, but this host has not seen it in time")
		}
	}
	return nil
}

// resignRevocations signs revocations anew that an authority before the present one has signed.
func (s *Store) resignRevocations(ctx context.Context) error {
	ca, err := s.cp.Local().Identity.Authority()
	if err != nil {
		return nil // not this host's work
	}
	_, signer, err := keyPair(ca.Cert, ca.Key)
	if err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	key := signer.(ed25519.PrivateKey)
	var errs []error
	for host, r := range s.Snapshot().Revoked {
		k := revokedKey(host).String()
		if unseal(key.Public().(ed25519.PublicKey), s.cfg.Environment, k, mustEncode(r)) == nil {
			continue
		}
		r.Sig = nil
		value := seal(key, s.cfg.Environment, k, mustEncode(r))
		_, err := s.commit(ctx, nil, []clientv3.Op{clientv3.OpPut(s.prefix+k, string(value))}, nil)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
