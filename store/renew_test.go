package store

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func certOf(t testing.TB, m *member) *x509.Certificate {
	t.Helper()
	cert, err := parseCert(m.cp.Local().Identity.Cert)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestCertificatesAreRenewedInTime(t *testing.T) {
	s := embeddedServer(t)
	a, b := s.join(t, hostA), s.join(t, hostB)
	a.SetHost(Host{Name: "alpha"})
	b.SetHost(Host{Name: "beta"})
	a.await(t, "both hosts", func(snap *Snapshot) bool { return len(snap.Hosts) == 2 })
	old := certOf(t, b)
	if err := a.renewDue(callCtx(t), old.NotBefore); err != nil {
		t.Fatal(err)
	}
	if err := b.renewDue(callCtx(t), old.NotAfter); err != nil { // it can't, and need not
		t.Fatal(err)
	}
	later := time.Now().Add(50 * time.Minute) // of the test hosts' hour
	if err := a.renewDue(callCtx(t), later); err != nil {
		t.Fatal(err)
	}
	a.await(t, "the host's fact with its new certificate", func(snap *Snapshot) bool {
		cert, err := x509.ParseCertificate(snap.Hosts[hostB].Cert)
		return err == nil && cert.NotAfter.After(old.NotAfter) && snap.Bad[hostKey(hostB).String()] == ""
	})
	if now := certOf(t, b); now.Equal(old) || !bytes.Equal(now.RawSubjectPublicKeyInfo, old.RawSubjectPublicKeyInfo) {
		t.Error("the host has not taken it up, or has another key")
	}
	if _, same := a.Snapshot().Certs[hostA]; same {
		t.Error("a certificate that is good for a year was renewed")
	}
	config, err := b.cp.ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	shown, err := config.GetClientCertificate(nil)
	if err != nil || !bytes.Equal(shown.Certificate[0], certOf(t, b).Raw) {
		t.Errorf("etcd is shown another certificate, %v", err)
	}
	if err := a.renewDue(callCtx(t), a.founderEnd(t)); err != nil {
		t.Fatal(err)
	}
	a.await(t, "the founder's own", func(snap *Snapshot) bool { return len(snap.Certs) == 2 })
}

// founderEnd is shortly before the founder's certificate ends.
func (m *member) founderEnd(t testing.TB) time.Time { return certOf(t, m).NotAfter.Add(-time.Hour) }

func TestOnlyGoodRenewalsAreTaken(t *testing.T) {
	s := embeddedServer(t)
	b := s.join(t, hostB)
	ca, err := s.founder.Authority()
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewCA(testEnv)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(ca CA, host string, ttl time.Duration) []byte {
		cert, _, err := ca.Issue(host, "", ttl)
		if err != nil {
			t.Fatal(err)
		}
		der, err := CertDER(cert)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	before := certOf(t, b)
	for what, der := range map[string][]byte{
		"another authority's": issue(other, hostB, 0), "another host's": issue(ca, hostA, 0), "for another key": issue(ca, hostB, 0),
	} {
		snap := *b.Snapshot()
		snap.Certs = map[string][]byte{hostB: der}
		b.snapshot.Store(&snap)
		if err := b.takeRenewal(); err == nil && what != "for another key" {
			t.Errorf("%s: no word about it", what)
		}
		if !certOf(t, b).Equal(before) {
			t.Errorf("%s certificate was taken", what)
		}
	}
	if _, err := other.Renew(before.Raw); err == nil {
		t.Error("renewed by another authority")
	}
	if _, err := ca.Renew([]byte("x")); err == nil {
		t.Error("renewed what is no certificate")
	}
}

func TestATokenDoesNotTakeBackARenewal(t *testing.T) {
	ca, err := NewCA(testEnv)
	if err != nil {
		t.Fatal(err)
	}
	token, err := ca.NewToken(nil, "beta", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	old, err := JoinIdentity(token, "")
	if err != nil {
		t.Fatal(err)
	}
	der, err := CertDER(old.Cert)
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := ca.Renew(der)
	if err != nil {
		t.Fatal(err)
	}
	old.Cert, old.CAKey, old.Imported = CertPEM(renewed), ca.Key, true
	again, err := JoinIdentity(token, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := again.After(old); !bytes.Equal(got.Cert, old.Cert) || !got.Imported || got.CAKey.Empty() || !bytes.Equal(got.Private.Bytes, old.Private.Bytes) {
		t.Error("something was lost")
	}
}

// TestATokenPutsNoMemberOut: JOIN stays set, so the same token is read at each start of a host that has become a member of the embedded
// etcd meanwhile. That it was one in another environment means nothing.
func TestATokenPutsNoMemberOut(t *testing.T) {
	founder, err := FoundIdentity(testEnv, hostA, "alpha")
	if err != nil {
		t.Fatal(err)
	}
	ca, err := founder.Authority()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := NewCA(testEnv)
	if err != nil {
		t.Fatal(err)
	}
	joined := func(ca CA, host string) Identity {
		t.Helper()
		token, err := ca.NewTokenFor(host, []string{"https://192.0.2.1:2379"}, "", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		id, err := JoinIdentity(token, "")
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	client := joined(ca, hostB)
	member := client
	member.Member = true
	for _, c := range []struct {
		what     string
		old, now Identity
		serves   bool
	}{
		{"a client", client, client, false},
		{"a member", member, client, true},
		{"a member, with a newer token", member, joined(ca, hostB), true},
		{"a founder", founder, joined(ca, hostA), true},
		{"a member of another environment", member, joined(foreign, hostB), false},
	} {
		if got := c.now.After(c.old); got.Serves() != c.serves {
			t.Errorf("%s: serves %v, want %v", c.what, got.Serves(), c.serves)
		}
	}
}

// JOIN stays set, so each start takes the token again: of all that the host has become since, nothing may be lost.
func TestTheSameTokenAgainChangesNothing(t *testing.T) {
	ca, err := NewCA(testEnv)
	if err != nil {
		t.Fatal(err)
	}
	token, err := ca.NewToken([]string{"https://192.0.2.1:2379"}, "beta", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	old, err := JoinIdentity(token, "")
	if err != nil {
		t.Fatal(err)
	}
	old.Router, old.Exported, old.Imported, old.Founder, old.Member = netip.MustParseAddr("100.127.0.1"), testTime, true, true, true
	old.CAKey, old.CAFact, old.CASince = ca.Key, []byte("fact"), testTime
	old.NextCA, old.NextKey, old.EngineAPI = []byte("next"), ca.Key, "1.56"
	for v, i := reflect.ValueOf(old), 0; i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not set here, so nothing is known of it", v.Type().Field(i).Name)
		}
	}
	again, err := JoinIdentity(token, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := again.After(old); !reflect.DeepEqual(got, old) {
		t.Errorf("got %+v, want %+v", got, old)
	}
}

func TestAuthorityBundle(t *testing.T) {
	ca, err := NewCA(testEnv)
	if err != nil {
		t.Fatal(err)
	}
	bundle := ca.Bundle()
	if text := fmt.Sprintf("%v %+v %s", bundle, bundle, bundle); strings.Contains(text, "PRIVATE") {
		t.Error("it prints")
	}
	back, err := ParseBundle(testEnv, bundle)
	if err != nil || !bytes.Equal(back.Cert, ca.Cert) || !bytes.Equal(back.Key.Bytes, ca.Key.Bytes) {
		t.Fatal("not the same authority", err)
	}
	cert, key, err := ca.Issue(hostA, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for what, bad := range map[string][]byte{"empty": nil, "without a key": ca.Cert, "without a certificate": ca.Key.Bytes, "noise": []byte("x"),
		"a host's": append(bytes.Clone(cert), key...), "mixed": append(bytes.Clone(ca.Cert), key...)} {
		if _, err := ParseBundle(testEnv, Secret{bad}); err == nil {
			t.Errorf("%s: accepted", what)
		} else if strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: quoted: %v", what, err)
		}
	}
	cp, path := tempCheckpoint(t)
	mustUpdate(t, cp, func(l *Local) { l.Identity = Identity{Environment: testEnv, HostID: hostB, CA: ca.Cert} })
	other, err := NewCA(testEnv)
	if err != nil {
		t.Fatal(err)
	}
	if err := cp.AddAuthority(other); err == nil || !cp.Local().Identity.CAKey.Empty() {
		t.Error("another environment's authority was taken")
	}
	if err := cp.AddAuthority(ca); err != nil {
		t.Fatal(err)
	}
	cp.Close()
	if cp, err = OpenCheckpoint(path); err != nil {
		t.Fatal(err)
	}
	defer cp.Close()
	if _, err := cp.Local().Identity.Authority(); err != nil || !cp.Local().Identity.Imported {
		t.Error("it is not on disk", err)
	}
}
