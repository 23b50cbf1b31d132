package store

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Why a word about the authority is not taken over, though it is of this environment.
var (
	errReplaced = errors.New("that authority was replaced by another one")
	errOlder    = errors.New("it is older than what this host knows of the authority")
)

// isAuthority says whether what openCA has found is of this environment's authority, be it an old word of it.
func isAuthority(err error) bool {
	return err == nil || errors.Is(err, errReplaced) || errors.Is(err, errOlder)
}

// openCA judges a value of the key ca. A host that knows an authority believes the next one, if the way to it is signed
// step by step; what else the value says is signed with the new authority's own key.
func (t *trust) openCA(value []byte) (a authority, err error) {
	fact, err := decodeValue(factKey{kind: kindCA}, value)
	if err != nil {
		return a, err
	}
	a = fact.(authority)
	anchors, err := t.anchors()
	if err != nil {
		return a, nil // one that does not know who it is yet believes the first
	}
	for i, known := range anchors {
		if bytes.Equal(known.Raw, a.Cert) && i > 0 {
			return a, errReplaced
		}
	}
	id := t.identity()
	known := id.CAFact
	if current := bytes.Equal(anchors[0].Raw, a.Cert); current {
		if bytes.Equal(known, value) || id.wordSince().IsZero() && a.Sig == nil {
			return a, nil
		}
	} else if err := a.reached(anchors); err != nil {
		return a, err
	}
	cert, err := x509.ParseCertificate(a.Cert)
	if err != nil {
		return a, err
	}
	public, ok := cert.PublicKey.(ed25519.PublicKey)
	if !ok {
		return a, errors.New("the authority's key is not Ed25519")
	}
	if err := unseal(public, t.environment, kindCA, value); err != nil {
		if errors.Is(err, errUnsigned) && bytes.Equal(anchors[0].Raw, a.Cert) {
			err = errOlder
		}
		return a, err
	}
	if !a.Since.After(sinceOf(known)) || a.Since.Before(id.CASince) {
		return a, errOlder
	}
	return a, nil
}

// reached says whether the signatures lead from an authority that is believed to this one.
func (a authority) reached(anchors []*x509.Certificate) error {
	cert, err := x509.ParseCertificate(a.Cert)
	if err != nil {
		return err
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, anchor := range anchors {
		roots.AddCert(anchor)
	}
	var last *x509.Certificate
	for _, der := range a.Cross {
		cross, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		between.AddCert(cross)
		if bytes.Equal(cross.RawSubjectPublicKeyInfo, cert.RawSubjectPublicKeyInfo) && cross.IsCA {
			last = cross
		}
	}
	if last == nil {
		return errors.New("it is another authority than that of this environment")
	}
	_, err = last.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: last.NotBefore.Add(clockSlack),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return fmt.Errorf("it is another authority than that of this environment: %w", err)
	}
	return nil
}

// believed are the authorities that a host believes after this word, PEM, the present one first.
func (a authority) believed() []byte {
	list := encodePEM(pemCert, a.Cert)
	for _, der := range a.Before {
		list = append(list, encodePEM(pemCert, der)...)
	}
	return list
}

// crossOf are the certificates by which those who know only an older authority get to the present one, PEM, the last first.
func crossOf(value []byte) []byte {
	var list []byte
	if fact, err := decodeValue(factKey{kind: kindCA}, value); err == nil {
		for _, der := range fact.(authority).Cross {
			list = append(list, encodePEM(pemCert, der)...)
		}
	}
	return list
}

func sinceOf(value []byte) time.Time {
	fact, err := decodeValue(factKey{kind: kindCA}, value)
	if err != nil {
		return time.Time{}
	}
	return fact.(authority).Since
}

// applyCA takes over what etcd says about the authority, or notes why not. An etcd that has lost it changes nothing.
func (t *trust) applyCA(b *builder, f *stagedFact) {
	if f.value == nil && b.next.CA != nil {
		f.err = errors.New("etcd has lost it")
	}
	if f.value == nil || f.err != nil {
		why := ""
		if f.err != nil {
			why = f.err.Error()
		}
		b.note(f.key, why)
		return
	}
	a := f.fact.(authority)
	if a.Sig != nil && !bytes.Equal(t.identity().CAFact, f.value) {
		if err := t.adopt(f.value, a); err != nil {
			b.note(f.key, err.Error())
			return
		}
		t.dropUnbelieved(b)
	}
	b.note(f.key, "")
	if !bytes.Equal(b.next.CA, a.Cert) {
		b.take(f.k, a)
	}
}

// dropUnbelieved forgets the hosts whose certificates are of authorities that are no longer believed. Their claims stay, for
// they may run; and endpoints without a host lead nowhere.
func (t *trust) dropUnbelieved(b *builder) {
	for id, h := range b.next.Hosts {
		if t.isBelieved(h.Cert) {
			continue
		}
		delete(t.authors, id)
		removeFrom(b, &b.next.Hosts, id)
		b.note(hostKey(id).String(), "its certificate is of an authority that was replaced")
	}
}

// isBelieved says whether an authority that is believed has signed the certificate, whatever its age.
func (t *trust) isBelieved(der []byte) bool {
	anchors, err := t.anchors()
	if err != nil {
		return true
	}
	cert, err := x509.ParseCertificate(der)
	return err == nil && signedByAny(cert, anchors)
}

func signedByAny(cert *x509.Certificate, authorities []*x509.Certificate) bool {
	for _, a := range authorities {
		if cert.CheckSignatureFrom(a) == nil {
			return true
		}
	}
	return false
}

// adoptAuthority puts a new word about the authority into the Checkpoint.
func (c *Checkpoint) adoptAuthority(value []byte, a authority) error {
	return c.Update(func(l *Local) error { return l.Identity.succeed(value, a) })
}

// succeed takes over a new word about the authority. A host that made the new authority gets its key with that; one that
// holds an older one's key loses it.
func (id *Identity) succeed(value []byte, a authority) error {
	before, err := CertDER(id.CA)
	if err != nil {
		return err
	}
	id.Founder = id.Founded()
	id.CA, id.CAFact = a.believed(), bytes.Clone(value)
	if bytes.Equal(before, a.Cert) {
		return nil
	}
	next, err := CertDER(id.NextCA)
	if made := err == nil && bytes.Equal(next, a.Cert); made {
		id.CAKey, id.Imported = id.NextKey, false
	} else {
		id.CAKey = Secret{}
	}
	id.Exported, id.NextCA, id.NextKey = time.Time{}, nil, Secret{}
	return nil
}
