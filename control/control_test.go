package control

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type fake struct{ tokenErr error }

func (fake) Status() Status {
	return Status{Health: Degraded, Problems: []string{"etcd is away"}, HostName: "h1"}
}
func (fake) Hosts() []Host              { return []Host{{Name: "h1", Self: true}} }
func (fake) Peers() []Peer              { return []Peer{{Name: "h2", State: "up", RTT: time.Millisecond}} }
func (fake) Networks() []Network        { return nil }
func (fake) Endpoints() []Endpoint      { return nil }
func (fake) Blocks() []Block            { return nil }
func (fake) Version() string            { return "v1" }
func (fake) Authority() (string, error) { return "bundle", nil }
func (fake) AuthorityExported() error   { return nil }
func (fake) AddAuthority(ca string) error {
	if ca != "bundle" {
		return errors.New("not an authority")
	}
	return nil
}
func (fake) RemoveHost(_ context.Context, ref string) (string, error) {
	if ref == "" {
		return "", errors.New("no host is called that")
	}
	return "id of " + ref, nil
}

func (f fake) Token(_ context.Context, name string, ttl time.Duration) (string, error) {
	return "token for " + name + " " + ttl.String(), f.tokenErr
}

func serve(t *testing.T, src Source) (*Client, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run", "meshsec.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, src) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return NewClient(path), path
}

func TestViewsCrossTheSocket(t *testing.T) {
	c, path := serve(t, fake{})
	var s Status
	if err := c.Get(t.Context(), "status", &s); err != nil {
		t.Fatal(err)
	}
	if s.Health != Degraded || s.HostName != "h1" || len(s.Problems) != 1 {
		t.Errorf("%+v", s)
	}
	var peers []Peer
	if err := c.Get(t.Context(), "peers", &peers); err != nil || len(peers) != 1 || peers[0].RTT != time.Millisecond {
		t.Error(peers, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error("only root may ask:", info.Mode(), err)
	}
}

func TestTokenAndItsErrors(t *testing.T) {
	c, _ := serve(t, fake{})
	if token, err := c.Token(t.Context(), "h2", "1h0m0s"); err != nil || token != "token for h2 1h0m0s" {
		t.Error(token, err)
	}
	if _, err := c.Token(t.Context(), "h2", "soon"); err == nil || !strings.Contains(err.Error(), `ttl "soon"`) {
		t.Error(err)
	}
	c, _ = serve(t, fake{tokenErr: errors.New("this host does not hold the CA")})
	if _, err := c.Token(t.Context(), "", ""); err == nil || err.Error() != "this host does not hold the CA" {
		t.Error(err)
	}
}

func TestSecondAgentIsRefusedAndStaleSocketReplaced(t *testing.T) {
	_, path := serve(t, fake{})
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another meshsec agent") {
		t.Error(err)
	}
	stale := filepath.Join(t.TempDir(), "stale.sock")
	l, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
	again, err := Listen(stale)
	if err != nil {
		t.Fatal("a socket that nobody listens on is replaced:", err)
	}
	_ = again.Close()
}

func TestNoAgentIsExplained(t *testing.T) {
	err := NewClient(filepath.Join(t.TempDir(), "none.sock")).Get(t.Context(), "status", &Status{})
	if err == nil || !strings.Contains(err.Error(), "no meshsec agent runs on this host") {
		t.Error(err)
	}
}

func TestUnknownViewIsExplained(t *testing.T) {
	c, _ := serve(t, fake{})
	err := c.Get(t.Context(), "weather", nil)
	if err == nil || !strings.Contains(err.Error(), "/v1/weather") {
		t.Error(err)
	}
}

func TestHostsAreRemoved(t *testing.T) {
	c, _ := serve(t, fake{})
	if id, err := c.RemoveHost(t.Context(), "h2"); err != nil || id != "id of h2" {
		t.Error(id, err)
	}
	if _, err := c.RemoveHost(t.Context(), ""); err == nil || err.Error() != "no host is called that" {
		t.Error(err)
	}
}

func TestTheAuthorityCrossesTheSocket(t *testing.T) {
	c, _ := serve(t, fake{})
	bundle, err := c.Authority(t.Context())
	if err != nil || bundle != "bundle" {
		t.Error(bundle, err)
	}
	if err := errors.Join(c.AuthorityExported(t.Context()), c.AddAuthority(t.Context(), bundle)); err != nil {
		t.Error(err)
	}
	if err := c.AddAuthority(t.Context(), "x"); err == nil || err.Error() != "not an authority" {
		t.Error(err)
	}
}
