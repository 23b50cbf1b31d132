package store

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

// successor is an authority that replaces the one of an identity, its word, and the identity after it.
type successor struct {
	ca    CA
	a     authority
	value string
	id    Identity
}

func succeed(t testing.TB, id Identity) successor {
	t.Helper()
	old, signer, err := keyPair(id.CA, id.CAKey)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := NewCA(testEnv)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := parseCert(ca.Cert)
	if err != nil {
		t.Fatal(err)
	}
	a, err := succession(old, signer, cert, id)
	if err != nil {
		t.Fatal(err)
	}
	return said(t, id, ca, a)
}

// said is a word of an authority about itself.
func said(t testing.TB, id Identity, ca CA, a authority) successor {
	t.Helper()
	_, key, err := keyPair(ca.Cert, ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	s := successor{ca: ca, a: a, id: id}
	s.value = string(seal(key.(ed25519.PrivateKey), testEnv, kindCA, mustEncode(a)))
	s.id.NextCA, s.id.NextKey = ca.Cert, ca.Key
	if err := s.id.succeed([]byte(s.value), a); err != nil {
		t.Fatal(err)
	}
	return s
}

// retired is the same authority without those before it.
func (s successor) retired(t testing.TB) successor {
	a := s.a
	a.Before, a.Since, a.Sig = nil, a.Since.Add(time.Second), nil
	return said(t, s.id, s.ca, a)
}

// newSuccession is a court whose host takes over what it believes.
func newSuccession(t testing.TB) *court {
	c := newCourt(t)
	c.trust.adopt = func(value []byte, a authority) error { return c.founder.succeed(value, a) }
	der, err := CertDER(c.founder.CA)
	if err != nil {
		t.Fatal(err)
	}
	c.shows(map[string]string{kindCA: string(mustEncode(authority{V: 1, Cert: der}))})
	if c.snap.Bad[kindCA] != "" || c.snap.CA == nil {
		t.Fatal(c.snap.Bad)
	}
	return c
}

func TestOnlyTheAuthorityNamesItsSuccessor(t *testing.T) {
	c := newSuccession(t)
	good := succeed(t, c.founder)
	stranger, err := FoundIdentity(testEnv, hostB, "")
	if err != nil {
		t.Fatal(err)
	}
	der, err := CertDER(stranger.CA)
	if err != nil {
		t.Fatal(err)
	}
	without, foreign := good.a, good.a
	without.Cross = nil
	foreign.Cross = succeed(t, stranger).a.Cross
	for what, value := range map[string]string{
		"another authority":              string(mustEncode(authority{V: 1, Cert: der})),
		"one that names itself":          succeed(t, stranger).value,
		"without the way":                said(t, c.founder, good.ca, without).value,
		"another one's way":              said(t, c.founder, good.ca, foreign).value,
		"signed by its predecessor":      string(seal(mustKey(t, c.founder), testEnv, kindCA, mustEncode(good.a))),
		"unsigned":                       string(mustEncode(good.a)),
		"with one more to be believed":   strings.Replace(good.value, `"before":["`, `"before":["`+encode64(der)+`","`, 1),
		"a host's certificate as the CA": string(mustEncode(authority{V: 1, Cert: c.hostFact(t, hostA, "", 1).Cert})),
		"no certificate":                 `{"v":1,"cert":"AAAA"}`,
	} {
		c.shows(map[string]string{kindCA: value})
		if c.snap.Bad[kindCA] == "" || len(c.founder.CAFact) != 0 {
			t.Errorf("%s is believed", what)
		}
	}
	c.shows(map[string]string{kindCA: ""})
	if c.snap.Bad[kindCA] == "" || c.snap.CA == nil {
		t.Error("gone from etcd, gone here")
	}
	c.shows(map[string]string{kindCA: good.value})
	if c.snap.Bad[kindCA] != "" || !bytes.Equal(c.snap.CA, good.a.Cert) || string(c.founder.CAFact) != good.value {
		t.Errorf("the successor is not believed: %s", c.snap.Bad[kindCA])
	}
	if !c.founder.CAKey.Empty() || !c.founder.Founded() {
		t.Error("the host keeps the key of an authority that was replaced, or is no founder any more")
	}
}

func mustKey(t testing.TB, id Identity) ed25519.PrivateKey {
	t.Helper()
	_, key, err := keyPair(id.CA, id.CAKey)
	if err != nil {
		t.Fatal(err)
	}
	return key.(ed25519.PrivateKey)
}

func TestAReplacedAuthorityDoesNotComeBack(t *testing.T) {
	c := newSuccession(t)
	first := c.founder
	der, err := CertDER(first.CA)
	if err != nil {
		t.Fatal(err)
	}
	founding := string(mustEncode(authority{V: 1, Cert: der}))
	c.meet(hostA, hostB)
	second := succeed(t, first)
	secondAlone := second.retired(t)
	third := succeed(t, secondAlone.id)
	expect := func(what, value, cert string, believed int, bad bool) {
		t.Helper()
		c.shows(map[string]string{kindCA: value})
		list, err := parseCerts(c.founder.CA)
		if err != nil || len(list) != believed || string(list[0].Raw) != cert || (c.snap.Bad[kindCA] != "") != bad {
			t.Errorf("%s: %d believed, %q", what, len(list), c.snap.Bad[kindCA])
		}
	}
	expect("replaced", second.value, string(second.a.Cert), 2, false)
	expect("the first one played back", founding, string(second.a.Cert), 2, true)
	expect("the same again", second.value, string(second.a.Cert), 2, false)
	if len(c.snap.Hosts) != 2 {
		t.Error("hosts of the old authority are gone too early")
	}
	c.meet(hostB)
	expect("the first one ends", secondAlone.value, string(second.a.Cert), 1, false)
	if len(c.snap.Hosts) != 0 || c.snap.Bad[hostKey(hostB).String()] == "" {
		t.Errorf("hosts of the authority that ended: %d", len(c.snap.Hosts))
	}
	c.shows(map[string]string{hostKey(hostB).String(): c.signed(t, hostB, hostKey(hostB), c.hostFact(t, hostB, "b", 9))})
	if len(c.snap.Hosts) != 0 {
		t.Error("a host of the authority that ended came back")
	}
	expect("its time played back", second.value, string(second.a.Cert), 1, true)
	expect("the first one", founding, string(second.a.Cert), 1, true)
	expect("a third one", third.value, string(third.a.Cert), 2, false)

	// Who has slept over all of it finds the way, and believes no more than the others.
	c.founder = first
	expect("two steps at once", third.value, string(third.a.Cert), 2, false)
}

func encode64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
