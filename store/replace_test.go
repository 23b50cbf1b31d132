package store

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// enrol joins a host that reaches etcd with what its checkpoint holds at the time, as agents do.
func (s *server) enrol(t testing.TB, self, name string) *member {
	t.Helper()
	cp, _ := tempCheckpoint(t)
	mustUpdate(t, cp, func(l *Local) { l.Identity = s.identity(t, self) })
	m := s.joinWith(t, self, cp, func(c *Config) {
		var err error
		if c.TLS, err = cp.ClientTLS(); err != nil {
			t.Fatal(err)
		}
	})
	m.SetHost(Host{Name: name})
	return m
}

func authorityOf(t testing.TB, m *member) CA {
	t.Helper()
	ca, err := m.cp.Local().Identity.Authority()
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// hasCertOf says whether the snapshot has the host with a certificate of the authority.
func hasCertOf(snap *Snapshot, host string, ca CA) bool {
	cert, err := x509.ParseCertificate(snap.Hosts[host].Cert)
	parent, err2 := parseCert(ca.Cert)
	return err == nil && err2 == nil && cert.CheckSignatureFrom(parent) == nil
}

func (s *server) trusts(t testing.TB, m *member) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.embedded.Trust(ctx, m.cp.Local().Identity.Trusted(), nil); err != nil {
		t.Fatal(err)
	}
}

func TestTheAuthorityIsReplaced(t *testing.T) {
	const hostC, hostD = "cccccccccccccccc", "dddddddddddddddd"
	s := embeddedServer(t)
	a, b := s.enrol(t, hostA, "alpha"), s.enrol(t, hostB, "beta")
	away := s.enrol(t, hostC, "gamma")
	a.await(t, "all hosts", func(snap *Snapshot) bool { return len(snap.Hosts) == 3 })
	old := authorityOf(t, a)
	if err := a.Revoke(callCtx(t), old, hostD); err != nil {
		t.Fatal(err)
	}
	away.stop()
	if err := a.RetireAuthority(callCtx(t), old, false); err == nil || !strings.Contains(err.Error(), "ca replace") {
		t.Errorf("retired without a successor: %v", err)
	}

	if err := a.ReplaceAuthority(callCtx(t), old); err != nil {
		t.Fatal(err)
	}
	fresh := authorityOf(t, a)
	if bytes.Equal(fresh.Key.Bytes, old.Key.Bytes) || a.cp.Local().Identity.NextCA != nil || !a.cp.Local().Identity.Exported.IsZero() {
		t.Error("the new key is not in the place of the old one")
	}
	s.trusts(t, a)
	der, err := CertDER(fresh.Cert)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*member{a, b} {
		m.await(t, "renewed hosts", func(snap *Snapshot) bool { return hasCertOf(snap, hostA, fresh) && hasCertOf(snap, hostB, fresh) })
		m.await(t, "the revocation by the new authority", func(snap *Snapshot) bool {
			return judge(Identity{Environment: testEnv, CA: CertPEM(der)}).revokes(snap.Revoked[hostD])
		})
		if n := len(m.Snapshot().Hosts); n != 3 {
			t.Errorf("%d hosts", n)
		}
	}
	if err := b.ReplaceAuthority(callCtx(t), old); err == nil {
		t.Error("replaced with an authority that was replaced")
	}
	if err := a.RetireAuthority(callCtx(t), fresh, false); err == nil || !strings.Contains(err.Error(), "gamma") {
		t.Errorf("retired although a host has no new certificate: %v", err)
	}

	// A host that has slept over it knows the server by the way from the old authority to the new one.
	back := s.joinWith(t, hostC, away.cp, func(c *Config) { c.TLS = mustTLS(t, away.cp) })
	back.SetHost(Host{Name: "gamma"})
	a.await(t, "the third host's certificate", func(snap *Snapshot) bool { return hasCertOf(snap, hostC, fresh) })
	back.stop()
	token, err := a.cp.Local().Identity.Trusted().NewToken(nil, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	joined, err := JoinIdentity(token, "delta")
	if err != nil {
		t.Fatal(err)
	}
	cp, _ := tempCheckpoint(t)
	mustUpdate(t, cp, func(l *Local) { l.Identity = joined })
	newcomer := s.joinWith(t, joined.HostID, cp, func(c *Config) { c.TLS = mustTLS(t, cp) })
	newcomer.await(t, "the other hosts, by a newcomer", func(snap *Snapshot) bool { return len(snap.Hosts) == 3 })

	overlap := a.cp.Local().Identity.CAFact
	if err := a.RetireAuthority(callCtx(t), fresh, false); err != nil {
		t.Fatal(err)
	}
	s.trusts(t, a)
	played := clientv3.OpPut(b.key(factKey{kind: kindCA}), string(overlap))
	if _, err := b.commit(callCtx(t), nil, []clientv3.Op{played}, nil); !denied(err) {
		t.Errorf("a host has played back that the old authority is believed: %v", err)
	}
	for _, m := range []*member{a, b, newcomer} {
		eventually(t, "the end of the old authority", func() bool {
			list, err := parseCerts(m.cp.Local().Identity.CA)
			return err == nil && len(list) == 1
		})
		if n := len(m.Snapshot().Hosts); n != 3 {
			t.Errorf("%d hosts after the old authority is gone", n)
		}
	}
	relic := s.guest(t, "eeeeeeeeeeeeeeee") // with a certificate of the old authority
	short, cancel := context.WithTimeout(context.Background(), callBudget)
	defer cancel()
	if _, err := relic.Get(short, Prefix(testEnv), clientv3.WithPrefix()); err == nil {
		t.Error("the server believes the old authority")
	}
}

func mustTLS(t testing.TB, cp *Checkpoint) *tls.Config {
	t.Helper()
	config, err := cp.ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// revokes says whether the revocation is signed by the authority.
func (t *trust) revokes(r Revocation) bool {
	f := &stagedFact{key: revokedKey(r.Host).String(), k: revokedKey(r.Host), value: mustEncode(r)}
	t.openRevoked(f)
	return f.err == nil
}
