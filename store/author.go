package store

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// author is a host whose certificate was found good. It stays good until the host is revoked: the certificate's end
// counts only when it is first seen.
type author struct {
	cert   []byte // DER
	public ed25519.PublicKey
	seq    uint64 // of the newest fact of the host that was accepted
}

// trust decides which facts of etcd are believed. It belongs to the follower's goroutine, which stages what lists and
// the watch show and then settles it, in the order in which facts rest on each other:
//
//	revoked/  signed with the authority's key, which this host knows from its token
//	hosts/    with a certificate of the authority for that host ID, signed with the certificate's key
//	released/, claims, endpoints  signed with the key of the host that they are of
type trust struct {
	environment string
	identity    func() Identity                       // this host's, for what it knows of the authority
	adopt       func(value []byte, a authority) error // puts a newer word of the authority there
	now         func() time.Time

	pem      []byte
	cas      []*x509.Certificate
	authors  map[string]author
	offers   map[string]Claim             // good claims as they are in etcd, by key
	released map[string]time.Time         // key of the release → since when
	waiting  map[string]map[string][]byte // host → key → value whose signature may become good with another certificate
	staged   map[string]stagedFact        // by key
	blocked  map[string]bool              // offers that overlap with another host's claim, see rival
	networks map[string]Network           // those with claims from before, by name, see settleNetworks
	refused  map[string][]byte            // other values of them in etcd, by key
}

func (t *trust) init(environment string, identity func() Identity, known *Snapshot) {
	t.environment, t.identity, t.now = environment, identity, time.Now
	t.authors, t.offers = map[string]author{}, map[string]Claim{}
	t.released, t.waiting, t.staged = map[string]time.Time{}, map[string]map[string][]byte{}, map[string]stagedFact{}
	t.blocked, t.networks = map[string]bool{}, map[string]Network{}
	t.refused = map[string][]byte{}
	for id, h := range known.Hosts {
		if !t.isBelieved(h.Cert) {
			continue
		}
		if cert, err := x509.ParseCertificate(h.Cert); err == nil {
			if public, ok := cert.PublicKey.(ed25519.PublicKey); ok {
				t.authors[id] = author{h.Cert, public, h.Seq}
			}
		}
	}
}

// judge is a trust that only judges, by what an identity knows.
func judge(id Identity) *trust {
	return &trust{environment: id.Environment, now: time.Now, identity: func() Identity { return id }}
}

// anchors are the certificates of the authority, the present one first, and of those before it that are still believed.
func (t *trust) anchors() ([]*x509.Certificate, error) {
	if pem := t.identity().CA; t.cas == nil || !bytes.Equal(pem, t.pem) {
		cas, err := parseCerts(pem)
		if err != nil || len(cas) == 0 {
			return nil, errors.New("this host does not know the environment's certificate authority")
		}
		t.pem, t.cas = pem, cas
	}
	return t.cas, nil
}

// begun is now or, by a clock that is behind, when the last of the certificates began: that they were made shows that it is later.
func begun(now time.Time, certs ...*x509.Certificate) time.Time {
	for _, c := range certs {
		if now.Before(c.NotBefore) {
			now = c.NotBefore
		}
	}
	return now
}

// verifyCert checks a host's certificate as of now, and returns its key.
func (t *trust) verifyCert(der []byte, host string) (ed25519.PublicKey, error) {
	anchors, err := t.anchors()
	if err != nil {
		return nil, err
	}
	if len(der) == 0 {
		return nil, errors.New("it has no certificate")
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("its certificate is unreadable: %w", err)
	}
	if cert.Subject.CommonName != host || len(cert.URIs) != 1 || cert.URIs[0].String() != hostURI(t.environment, host).String() {
		return nil, errors.New("its certificate is that of another host or environment")
	}
	if now := t.now(); now.After(cert.NotAfter) {
		return nil, fmt.Errorf("its certificate expired at %s", cert.NotAfter.UTC().Format(dateFormat))
	}
	roots := x509.NewCertPool()
	for _, ca := range anchors {
		roots.AddCert(ca)
	}
	at := begun(t.now(), append(anchors[:len(anchors):len(anchors)], cert)...)
	_, err = cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return nil, fmt.Errorf("its certificate: %w", err)
	}
	public, ok := cert.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("its certificate is not Ed25519")
	}
	return public, nil
}

// unverified is why a fact is not believed although it is readable.
type unverified struct {
	host string
	why  string
	wait bool // another certificate of the host may make it good
}

func (u unverified) Error() string { return u.why }

// open reads a value and checks its author's signature. It changes nothing, so it may run in parallel. have is the last
// Snapshot: what it holds was checked before.
func (t *trust) open(have, next *Snapshot, k factKey, key string, value []byte) (any, error) {
	fact, err := decodeValue(k, value)
	if err != nil {
		return nil, err
	}
	host := k.host
	if c, ok := fact.(Claim); ok {
		host = c.Host
	}
	_, out := next.Revoked[host]
	switch before := verifiedBefore(have, k, fact); {
	case before && (!out || k.isClaim()): // a removed host's claims stay until they are deleted
		return fact, nil
	case out:
		return nil, unverified{host: host, why: "host " + host + " was removed from the environment"}
	}
	a, ok := t.authors[host]
	if !ok {
		return nil, unverified{host, "no good fact of host " + host + " tells its certificate", true}
	}
	if err := unseal(a.public, t.environment, key, value); err != nil {
		return nil, unverified{host, "as a fact of host " + host + ": " + err.Error(), true}
	}
	return fact, nil
}
