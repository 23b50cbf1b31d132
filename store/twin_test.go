package store

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// copyState is another machine's disk after a copy of this one.
func copyState(t testing.TB, from string) *Checkpoint {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy.db")
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return openTestCheckpoint(t, to)
}

func briefly(c *Config) { c.LeaseTTL = 2 * time.Second }

func TestTwoMachinesWithOneIdentityNoticeEachOther(t *testing.T) {
	s := embeddedServer(t)
	other := s.join(t, hostA)
	mustCreate(t, other, testNetwork("default", "10.42.0.0/16"))
	cp, path := tempCheckpoint(t)
	first := s.joinWith(t, hostB, cp, briefly)
	first.SetHost(Host{Name: "original", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
	if _, err := first.ClaimBlock(callCtx(t), testBlock); err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, cp, func(l *Local) { l.Blocks[testBlock] = Claim{V: 1, Host: hostB} })
	copied := copyState(t, path)
	e := testEndpoint(hostB, 9) // since the copy was made
	mustUpdate(t, cp, func(l *Local) { l.Endpoints["e"] = LocalEndpoint{Endpoint: e} })
	other.await(t, "the endpoint", func(snap *Snapshot) bool { _, ok := snap.Endpoint(e.Key()); return ok })
	fact := other.Snapshot().Hosts[hostB]

	second := s.joinWith(t, hostB, copied, briefly)
	second.SetHost(Host{Name: "copy", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.2")}})
	for m, name := range map[*member]string{first: "copy at 192.0.2.2", second: "original at 192.0.2.1"} {
		eventually(t, "the word of "+name, func() bool { return m.Twin() != nil })
		if err := m.Twin(); !errors.Is(err, ErrTwin) || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %s", err, name)
		}
		if _, err := m.ClaimBlock(callCtx(t), BlockKey{"default", netip.MustParsePrefix("10.42.65.0/26")}); !errors.Is(err, ErrTwin) {
			t.Errorf("a claim: %v", err)
		}
	}
	if _, ok := other.Snapshot().Endpoint(e.Key()); !ok || other.Snapshot().Hosts[hostB].Seq != fact.Seq {
		t.Error("the copy has deleted or written facts of the original")
	}
	second.stop()
	eventually(t, "the original alone again", func() bool { return first.Twin() == nil })
	eventually(t, "its presence", func() bool { return other.Snapshot().Alive[hostB] })
	if _, err := first.ClaimBlock(callCtx(t), BlockKey{"default", netip.MustParsePrefix("10.42.65.0/26")}); err != nil {
		t.Errorf("a claim without a twin: %v", err)
	}
}

func TestARestartIsNoTwin(t *testing.T) {
	s := embeddedServer(t)
	cp, _ := tempCheckpoint(t)
	// A crash leaves the key behind, signed by this host.
	value := s.signed(t, hostB, aliveKey(hostB), Presence{V: 1, Nonce: "before", Name: "beta"})
	if _, err := s.client(t).Put(callCtx(t), Prefix(testEnv)+aliveKey(hostB).String(), value); err != nil {
		t.Fatal(err)
	}
	b := s.joinWith(t, hostB, cp, briefly)
	b.SetHost(Host{Name: "beta"})
	b.await(t, "its own fact", func(snap *Snapshot) bool { return snap.Hosts[hostB].Name == "beta" })
	// Who can write to etcd, but has not this host's key, makes no twin.
	forged := s.signed(t, hostA, aliveKey(hostB), Presence{V: 1, Nonce: "forged", Name: "evil"})
	first, err := s.client(t).Get(callCtx(t), Prefix(testEnv)+aliveKey(hostB).String())
	if err != nil || len(first.Kvs) != 1 {
		t.Fatal(err)
	}
	// Nor does an old value of its own, of this run or of one before.
	for _, value := range []string{forged, `{"v":1}`, "x", value, string(first.Kvs[0].Value)} {
		put, err := s.client(t).Put(callCtx(t), Prefix(testEnv)+aliveKey(hostB).String(), value)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "its presence anew", func() bool {
			r, err := s.client(t).Get(callCtx(t), Prefix(testEnv)+aliveKey(hostB).String())
			return err == nil && len(r.Kvs) == 1 && r.Kvs[0].ModRevision > put.Header.Revision
		})
	}
	if _, err := s.client(t).Delete(callCtx(t), Prefix(testEnv)+aliveKey(hostB).String()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its presence after a deletion", func() bool {
		r, err := s.client(t).Get(callCtx(t), Prefix(testEnv)+aliveKey(hostB).String(), clientv3.WithCountOnly())
		return err == nil && r.Count == 1
	})
	if err := b.Twin(); err != nil {
		t.Error(err)
	}
}

func TestNothingOfItsOwnIsATwin(t *testing.T) {
	s := embeddedServer(t)
	cp, _ := tempCheckpoint(t)
	b := s.joinWith(t, hostB, cp)
	b.stop()
	key := aliveKey(hostB).String()
	var held, restarted lease
	var values [][]byte
	write := func(held *lease, replaced []byte) []byte {
		t.Helper()
		value, err := b.presence(held, replaced)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	last := func() []byte {
		if len(values) == 0 {
			return nil
		}
		return values[len(values)-1]
	}
	for range 3 * noncesKept {
		values = append(values, write(&held, last()))
	}
	values = append(values, write(&restarted, last()))
	for n, value := range values {
		b.note(&held, key, value[:len(value)-1])
		b.note(&restarted, key, value)
		if n < len(values)-1 {
			b.note(&held, key, value)
		}
		if err := b.Twin(); err != nil {
			t.Fatalf("value %d played back: %v", n, err)
		}
	}
	// One that was played back and replaced is not a way around that.
	again := write(&held, values[0])
	b.note(&held, key, again)
	b.note(&restarted, key, again)
	if err := b.Twin(); err != nil {
		t.Fatal(err)
	}
	var copied lease
	b.note(&held, key, write(&copied, again))
	if err := b.Twin(); !errors.Is(err, ErrTwin) {
		t.Errorf("a copy: %v", err)
	}
}
