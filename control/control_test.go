package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
func (fake) Hosts() []Host         { return []Host{{Name: "h1", Self: true}} }
func (fake) Peers() []Peer         { return []Peer{{Name: "h2", State: "up", RTT: time.Millisecond}} }
func (fake) Networks() []Network   { return nil }
func (fake) Endpoints() []Endpoint { return nil }
func (fake) Blocks() []Block       { return nil }
func (fake) Version() string       { return "v1" }
func (fake) DNS(name, kind, from string) (DNS, error) {
	if name == "" {
		return DNS{}, errors.New("no name")
	}
	return DNS{Name: name, Type: kind, From: from}, nil
}
func (fake) Authority() (string, error) { return "bundle", nil }
func (fake) AuthorityExported(remove bool) error {
	if remove {
		return errors.New("it stays")
	}
	return nil
}
func (fake) ReplaceAuthority(_ context.Context, ca string) error { return errors.New("replace " + ca) }
func (fake) RetireAuthority(_ context.Context, ca string, force bool) error {
	return fmt.Errorf("retire %s %v", ca, force)
}
func (fake) RenewCertificates(_ context.Context, ca string) (string, error) { return "3 by " + ca, nil }
func (fake) AddAuthority(ca string) error {
	if ca != "bundle" {
		return errors.New("not an authority")
	}
	return nil
}
func (fake) Rekey() ([]string, error) { return []string{"h2"}, nil }

func (fake) RecoverEtcd(_ context.Context, lost []string) error {
	return fmt.Errorf("recovery without %q", lost)
}
func (fake) RemoveHost(_ context.Context, ref, ca string) (string, error) {
	if ref == "" {
		return "", errors.New("no host is called that")
	}
	return "id of " + ref + ca, nil
}

func (f fake) Token(_ context.Context, want Token) (string, error) {
	return fmt.Sprintf("token for %s %s %s %s", want.Name, want.TTL, want.Host, want.CA), f.tokenErr
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
	if token, err := c.Token(t.Context(), Token{Name: "h2", TTL: time.Hour, Host: "old", CA: "key"}); err != nil || token != "token for h2 1h0m0s old key" {
		t.Error(token, err)
	}
	if _, err := c.Token(t.Context(), Token{TTL: -time.Second}); err == nil || !strings.Contains(err.Error(), `ttl "-1s"`) {
		t.Error(err)
	}
	c, _ = serve(t, fake{tokenErr: errors.New("this host does not hold the CA")})
	if _, err := c.Token(t.Context(), Token{}); err == nil || err.Error() != "this host does not hold the CA" {
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
	if id, err := c.RemoveHost(t.Context(), "h2", "key"); err != nil || id != "id of h2key" {
		t.Error(id, err)
	}
	if _, err := c.RemoveHost(t.Context(), "", ""); err == nil || err.Error() != "no host is called that" {
		t.Error(err)
	}
}

func TestRekeyNamesPeers(t *testing.T) {
	c, _ := serve(t, fake{})
	if peers, err := c.Rekey(t.Context()); err != nil || len(peers) != 1 || peers[0] != "h2" {
		t.Error(peers, err)
	}
}

func TestTheAuthorityCrossesTheSocket(t *testing.T) {
	c, _ := serve(t, fake{})
	bundle, err := c.Authority(t.Context())
	if err != nil || bundle != "bundle" {
		t.Error(bundle, err)
	}
	if err := errors.Join(c.AuthorityExported(t.Context(), false), c.AddAuthority(t.Context(), bundle)); err != nil {
		t.Error(err)
	}
	for want, err := range map[string]error{"it stays": c.AuthorityExported(t.Context(), true), "replace key": c.ReplaceAuthority(t.Context(), "key"),
		"retire key true": c.RetireAuthority(t.Context(), "key", true), "retire  false": c.RetireAuthority(t.Context(), "", false)} {
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if count, err := c.RenewCertificates(t.Context(), "key"); err != nil || count != "3 by key" {
		t.Error(count, err)
	}
	if err := c.AddAuthority(t.Context(), "x"); err == nil || err.Error() != "not an authority" {
		t.Error(err)
	}
}

func TestDNSCrossesTheSocket(t *testing.T) {
	c, _ := serve(t, fake{})
	if d, err := c.DNS(t.Context(), "web.shop", "A", "a&b"); err != nil || d.Name != "web.shop" || d.Type != "A" || d.From != "a&b" {
		t.Error(d, err)
	}
	if _, err := c.DNS(t.Context(), "", "A", ""); err == nil || err.Error() != "no name" {
		t.Error(err)
	}
}

func TestATokensKeyNeverPrints(t *testing.T) {
	want := Token{Name: "h2", Host: "old", CA: "private"}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{fmt.Sprintf("%v %+v %#v %s %q %x %v", want, want, want, want, want, want, &want), string(text)} {
		if strings.Contains(out, "private") || strings.Contains(out, "70726976617465") || !strings.Contains(out, "h2") {
			t.Error(out)
		}
	}
}
