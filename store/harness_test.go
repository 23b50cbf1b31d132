package store

import (
	"context"
	"crypto/ed25519"
	"io"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/meshsec/meshsec/internal/freeport"
)

const (
	testEnv    = "test"
	hostA      = "aaaaaaaaaaaaaaaa"
	hostB      = "bbbbbbbbbbbbbbbb"
	patience   = time.Minute     // of a test before it gives up
	callBudget = 2 * time.Second // what callers give a call
)

var loopback = netip.MustParseAddr("127.0.0.1")

func quietLog(testing.TB) *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

// long marks a test that mostly waits, for seconds. It runs beside others, and not in a short run, but under the race detector.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() && !raceEnabled {
		t.Skip("short: waits for etcd's members")
	}
	t.Parallel()
}

// server is an etcd that a test may stop and start: the embedded one, or Debian's.
type server struct {
	founder   Identity
	hosts     map[string]Identity // issued so far, by ID
	endpoints []string
	dir       string
	embedded  *Embedded
	stop      func()
	start     func(t testing.TB) // again, on the same data and ports
}

// embeddedServer starts the embedded etcd of a new environment.
func embeddedServer(t testing.TB, change ...func(*EmbedConfig)) *server {
	t.Helper()
	id, err := FoundIdentity(testEnv, hostA, "alpha")
	if err != nil {
		t.Fatal(err)
	}
	ca, err := id.Authority()
	if err != nil {
		t.Fatal(err)
	}
	cfg := EmbedConfig{Dir: filepath.Join(t.TempDir(), "etcd"), Name: hostA, Addrs: []netip.Addr{loopback},
		ClientPort: freeport.Port(t), PeerPort: freeport.Port(t), CA: ca, Log: quietLog(t)}
	for _, fn := range change {
		fn(&cfg)
	}
	s := &server{founder: id, hosts: map[string]Identity{hostA: id}, dir: cfg.Dir}
	s.start = func(t testing.TB) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		e, err := StartEmbedded(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		s.embedded, s.endpoints, s.stop = e, e.Endpoints(), e.Close
	}
	s.start(t)
	t.Cleanup(func() { s.stop() })
	return s
}

// client is a plain etcd client, to look and to do harm.
func (s *server) client(t testing.TB) *clientv3.Client {
	t.Helper()
	c, err := newClient(s.config(t, hostA))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (s *server) config(t testing.TB, self string) Config {
	t.Helper()
	tls, err := s.founder.ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	return Config{Environment: testEnv, Endpoints: s.endpoints, TLS: tls, Self: self}
}

// identity is that of a host of the environment.
func (s *server) identity(t testing.TB, self string) Identity {
	t.Helper()
	if id, ok := s.hosts[self]; ok {
		return id
	}
	ca, err := s.founder.Authority()
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Issue(self, "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	s.hosts[self] = Identity{Environment: testEnv, HostID: self, Cert: cert, Key: Secret{key}, CA: ca.Cert}
	return s.hosts[self]
}

// signed is a fact as its host would write it.
func (s *server) signed(t testing.TB, host string, k factKey, fact any) string {
	t.Helper()
	_, key, err := keyPair(s.identity(t, host).Cert, s.identity(t, host).Key)
	if err != nil {
		t.Fatal(err)
	}
	return string(seal(key.(ed25519.PrivateKey), testEnv, k.String(), mustEncode(fact)))
}

// put writes a fact as its host would, past that host's Store.
func (s *server) put(t testing.TB, host string, k factKey, fact any) int64 {
	t.Helper()
	r, err := s.client(t).Put(callCtx(t), Prefix(testEnv)+k.String(), s.signed(t, host, k, fact))
	if err != nil {
		t.Fatal(err)
	}
	return r.Header.Revision
}

// hostFact is a good fact of a host.
func (s *server) hostFact(t testing.TB, host, name string, seq uint64) Host {
	t.Helper()
	cert, err := CertDER(s.identity(t, host).Cert)
	if err != nil {
		t.Fatal(err)
	}
	return Host{V: 1, ID: host, Name: name, Cert: cert, Seq: seq}
}

// member is one host: its checkpoint and its running Store.
type member struct {
	*Store
	cp   *Checkpoint
	stop func() // waits for Run's end; the checkpoint stays open
}

// join starts the Store of a host and returns when it has its first list.
func (s *server) join(t testing.TB, self string, change ...func(*Config)) *member {
	t.Helper()
	cp, _ := tempCheckpoint(t)
	m := s.joinWith(t, self, cp, change...)
	m.await(t, "the first list", func(snap *Snapshot) bool { return snap.Revision > 0 && !snap.FromDisk })
	return m
}

func (s *server) joinWith(t testing.TB, self string, cp *Checkpoint, change ...func(*Config)) *member {
	t.Helper()
	cfg := s.config(t, self)
	for _, fn := range change {
		fn(&cfg)
	}
	if self != "" && cp.Local().Identity.HostID == "" {
		mustUpdate(t, cp, func(l *Local) { l.Identity = s.identity(t, self) })
	}
	st, err := Open(cfg, cp, quietLog(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{hostA, hostB} { // most tests need no facts of the hosts
		h := s.hostFact(t, host, "", 0)
		public, err := st.trust.verifyCert(h.Cert, host)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := st.trust.authors[host]; !ok {
			st.trust.authors[host] = author{cert: h.Cert, public: public}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- st.Run(ctx) }()
	m := &member{Store: st, cp: cp}
	m.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
	}
	t.Cleanup(m.stop)
	return m
}

// await waits until the Snapshot is as it should be.
func (m *member) await(t testing.TB, what string, ok func(*Snapshot) bool) {
	t.Helper()
	changed := m.Subscribe()
	deadline := time.After(patience)
	for !ok(m.Snapshot()) {
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%s: waited %s for %s", m.cfg.Self, patience, what)
		}
	}
}

// eventually waits for something that nobody tells of.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	waitFor(t, patience, what, ok)
}

func waitFor(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", limit, what)
		}
		<-tick.C
	}
}

func callCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func testNetwork(name, pool string) Network {
	p := netip.MustParsePrefix(pool)
	return Network{V: 1, Name: name, Pool: p, Dynamic: []netip.Prefix{p}, Gateway: p.Addr().Next(), BlockLen: 26, Since: testTime}
}

func mustCreate(t testing.TB, m *member, n Network) {
	t.Helper()
	if _, err := m.CreateNetwork(callCtx(t), n); err != nil {
		t.Fatal(err)
	}
}
