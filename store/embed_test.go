package store

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/internal/freeport"
)

func embedConfig(t testing.TB) EmbedConfig {
	t.Helper()
	ca, err := NewCA(testEnv)
	if err != nil {
		t.Fatal(err)
	}
	return EmbedConfig{Dir: filepath.Join(t.TempDir(), "etcd"), Name: hostA, Addrs: []netip.Addr{loopback},
		ClientPort: freeport.Port(t), PeerPort: freeport.Port(t), CA: ca, Log: quietLog(t)}
}

func mustEmbed(t testing.TB, cfg EmbedConfig) *Embedded {
	t.Helper()
	e, err := StartEmbedded(callCtx(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func TestEmbeddedMovesToOtherAddresses(t *testing.T) {
	cfg := embedConfig(t)
	e := mustEmbed(t, cfg)
	first, err := os.ReadFile(filepath.Join(cfg.Dir, "server.pem"))
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	e = mustEmbed(t, cfg)
	if again, _ := os.ReadFile(filepath.Join(cfg.Dir, "server.pem")); !bytes.Equal(first, again) {
		t.Error("a new certificate without need")
	}
	e.Close()
	cfg.Addrs = []netip.Addr{netip.MustParseAddr("127.0.0.2"), loopback}
	e = mustEmbed(t, cfg)
	cert, err := os.ReadFile(filepath.Join(cfg.Dir, "server.pem"))
	if err != nil || bytes.Equal(first, cert) {
		t.Error("no new certificate for new addresses")
	}
	if got := e.Endpoints(); len(got) != 2 || !strings.HasPrefix(got[0], "https://127.0.0.2:") {
		t.Errorf("endpoints %v", got)
	}
	token, err := cfg.CA.NewToken(e.Endpoints(), "beta", 0)
	if err != nil {
		t.Fatal(err)
	}
	id, err := JoinIdentity(token, "")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{founder: id, endpoints: e.Endpoints()}
	if _, err := s.client(t).Get(callCtx(t), "x"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"server.key", "server.pem", "ca.pem"} {
		if info, err := os.Stat(filepath.Join(cfg.Dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestEmbeddedRefusesStrangers(t *testing.T) {
	cfg := embedConfig(t)
	e := mustEmbed(t, cfg)
	other, err := NewCA(testEnv)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := cfg.CA.NewToken(e.Endpoints(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := other.NewToken(e.Endpoints(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs.CA = ours.CA // they know whom they talk to, but not how to be known
	get := func(what string, c *tls.Config, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		cp, _ := tempCheckpoint(t)
		st, err := Open(Config{Environment: testEnv, Endpoints: e.Endpoints(), TLS: c}, cp, quietLog(t))
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		ctx, cancel := context.WithTimeout(context.Background(), callBudget/4)
		defer cancel()
		if err := st.Verify(ctx); err == nil || !strings.Contains(err.Error(), "not reached") {
			t.Errorf("%s: got %v", what, err)
		}
	}
	anonymous, err := clientTLS(ours.CA, nil, nil, ServerName)
	get("no certificate", anonymous, err)
	stranger, err := clientTLS(ours.CA, theirs.Cert, theirs.Key.Bytes, ServerName)
	get("another authority's certificate", stranger, err)
	wrongServer, err := clientTLS(other.Cert, ours.Cert, ours.Key.Bytes, ServerName)
	get("a server of another authority", wrongServer, err)
	wrongName, err := clientTLS(ours.CA, ours.Cert, ours.Key.Bytes, "db.example")
	get("a server of another name", wrongName, err)

	// A host's certificate is not enough to be a member.
	member, err := clientTLS(ours.CA, ours.Cert, ours.Key.Bytes, ServerName)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", net.JoinHostPort("127.0.0.1", serverURLPort(cfg)), member)
	if err == nil { // in TLS 1.3 the refusal comes with the first read
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = conn.Write([]byte("GET /members HTTP/1.0\r\n\r\n"))
		var answer [1]byte
		if n, err := conn.Read(answer[:]); err == nil {
			t.Errorf("a host's certificate opened the peers' port: %q", answer[:n])
		}
		conn.Close()
	}
}

func TestEmbeddedUnderAnAddressThatItDoesNotKnow(t *testing.T) {
	s := embeddedServer(t)
	outside, err := net.Listen("tcp", "127.0.0.9:0") // as a NAT would show it
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	inside := strings.TrimPrefix(s.endpoints[0], "https://")
	go func() {
		for {
			from, err := outside.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", inside)
			if err != nil {
				from.Close()
				return
			}
			go func() { _, _ = io.Copy(to, from); to.Close() }()
			go func() { _, _ = io.Copy(from, to); from.Close() }()
		}
	}()
	s.endpoints = []string{"https://" + outside.Addr().String()}
	if _, err := s.client(t).Get(callCtx(t), "x"); err != nil {
		t.Error(err)
	}
}

func serverURLPort(cfg EmbedConfig) string {
	u := serverURL(loopback, cfg.PeerPort)
	return u.Port()
}

func TestEmbeddedPortInUse(t *testing.T) {
	cfg := embedConfig(t)
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", serverURLPort(EmbedConfig{PeerPort: cfg.ClientPort})))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = StartEmbedded(callCtx(t), cfg)
	if err == nil || !strings.Contains(err.Error(), "ETCD_PORT") || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("got %v, want the address and the setting", err)
	}
	l.Close()
	mustEmbed(t, cfg)
}

func TestEmbeddedWithDamagedDataDoesNotEndTheProcess(t *testing.T) {
	cfg := embedConfig(t)
	mustEmbed(t, cfg).Close()
	for _, name := range []string{"member/snap/db", "member/wal/0000000000000000-0000000000000000.wal"} {
		path := filepath.Join(cfg.Dir, name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bad := bytes.Repeat([]byte{0x5a}, len(good))
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg.ClientPort, cfg.PeerPort = freeport.Port(t), freeport.Port(t) // a failed start may keep the others
		if _, err := StartEmbedded(callCtx(t), cfg); err == nil || !strings.HasPrefix(err.Error(), "embedded etcd: ") {
			t.Errorf("%s: got %v", name, err)
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Addrs = nil
	if _, err := StartEmbedded(callCtx(t), cfg); err == nil {
		t.Error("started without an address")
	}
}

func TestEmbeddedIsQuiet(t *testing.T) {
	cfg := embedConfig(t)
	var out bytes.Buffer
	log := logrus.New()
	log.SetOutput(&out)
	cfg.Log = logrus.NewEntry(log)
	mustEmbed(t, cfg).Close()
	if out.Len() > 0 {
		t.Errorf("it logs: %s", out.String())
	}
}

func TestStoreLeavesNoGoroutines(t *testing.T) {
	s := embeddedServer(t)
	before := runtime.NumGoroutine()
	for range 3 {
		m := s.join(t, hostB)
		m.stop()
		m.cp.Close()
	}
	eventually(t, "the end of all goroutines", func() bool { return runtime.NumGoroutine() <= before+5 })
}
