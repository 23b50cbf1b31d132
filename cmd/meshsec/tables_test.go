package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/control"
)

// shown is a Source with something in every view.
type shown struct{ health control.Health }

func (s shown) Status() control.Status {
	return control.Status{Health: s.health, Problems: []string{"etcd is not reachable: refused"}, HostName: "h1", HostID: "00aa", DataPlane: "userspace",
		DataPlaneReason: "set by DATAPLANE", Router: netip.MustParseAddr("100.127.0.1"), Docker: "29.7.2, API 1.55", Drops: map[string]uint64{"short": 2, "none": 0}}
}
func (shown) Hosts() []control.Host {
	return []control.Host{{Name: "h1", Self: true, Alive: true, Underlay: "192.0.2.1:4500"}}
}
func (shown) Peers() []control.Peer {
	return []control.Peer{
		{Name: "h2", State: "up", RTT: 1234567, RxBytes: 2048, Cipher: "aes-256-gcm", LastHandshake: time.Now().Add(-90 * time.Second)},
		{Name: "h3", State: "starting", Reason: "no answer from 192.0.2.3:4500 in 3 attempts"},
	}
}
func (shown) Networks() []control.Network {
	return []control.Network{{Name: "default", Pool: netip.MustParsePrefix("10.42.0.0/16"), BlockLen: 26, Here: true,
		Dynamic: []netip.Prefix{netip.MustParsePrefix("10.42.64.0/18"), netip.MustParsePrefix("10.42.128.0/17")}}}
}
func (shown) Endpoints() []control.Endpoint {
	return []control.Endpoint{{Network: "default", Addr: netip.MustParseAddr("10.42.64.1"), Host: "h1", Name: "shop_web_1", Service: "web", Project: "shop", ID: strings.Repeat("e", 64)}}
}
func (shown) Blocks() []control.Block {
	return []control.Block{{Network: "default", Prefix: netip.MustParsePrefix("10.42.64.0/26"), Kind: "block", Host: "h1", Used: 3, Size: 64}}
}
func (shown) Version() string                                     { return "v1" }
func (shown) Authority() (string, error)                          { return "bundle", nil }
func (shown) AuthorityExported(bool) error                        { return nil }
func (shown) ReplaceAuthority(_ context.Context, ca string) error { return errors.New("replace " + ca) }
func (shown) RetireAuthority(_ context.Context, ca string, force bool) error {
	return fmt.Errorf("retire %s %v", ca, force)
}
func (shown) RenewCertificates(_ context.Context, ca string) (string, error) { return "3", nil }
func (shown) AddAuthority(ca string) error {
	if ca != "bundle" {
		return errors.New("not an authority")
	}
	return nil
}
func (shown) Rekey() ([]string, error) { return []string{"h2", "h3"}, nil }

func (shown) RecoverEtcd(context.Context, []string) error { return nil }
func (shown) RemoveHost(_ context.Context, ref, ca string) (string, error) {
	if ref == "" {
		return "", errors.New("no host is called that")
	}
	return "id of " + ref + ca, nil
}

func (shown) Token(_ context.Context, want control.Token) (string, error) {
	return "meshsec1.token" + want.Host + want.CA, nil
}

func run(t *testing.T, src control.Source, args ...string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "meshsec.sock")
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- control.Serve(ctx, l, src) }()
	defer func() { cancel(); <-done }()
	var out bytes.Buffer
	cmd := root()
	cmd.SetOut(&out)
	cmd.SetArgs(append(args, "--socket", path))
	err = cmd.Execute()
	return out.String(), err
}

func TestEveryViewAsTextAndAsJSON(t *testing.T) {
	for view, want := range map[string][]string{
		"status":    {"etcd is not reachable: refused", "h1 (00aa)", "set by DATAPLANE", "29.7.2, API 1.55", "short 2"},
		"hosts":     {"h1 *", "192.0.2.1:4500", "yes"},
		"peers":     {"up", "1.23ms", "2.0 KiB", "1m ago", "starting: no answer from 192.0.2.3:4500 in 3 attempts", "never"},
		"networks":  {"10.42.64.0/18,10.42.128.0/17", "/26"},
		"endpoints": {"10.42.64.1", "shop_web_1", "shop/web", strings.Repeat("e", 12)},
		"blocks":    {"10.42.64.0/26", "3 of 64"},
		"version":   {"v1"},
		"token":     {"meshsec1.token"},
		"rekey":     {"h2\n", "h3\n"},
	} {
		out, err := run(t, shown{control.OK}, view)
		if err != nil {
			t.Errorf("%s: %v", view, err)
		}
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s lacks %q:\n%s", view, w, out)
			}
		}
		out, err = run(t, shown{control.OK}, view, "--json")
		if err != nil || !json.Valid([]byte(out)) {
			t.Errorf("%s --json: %v\n%s", view, err, out)
		}
	}
}

func TestStatusExitCodesFollowHealth(t *testing.T) {
	for health, want := range map[control.Health]int{control.Degraded: 1, control.Broken: 2} {
		_, err := run(t, shown{health}, "status")
		var e exit
		if !errors.As(err, &e) || e.code != want {
			t.Errorf("%s: %v", health, err)
		}
	}
}

func TestMisuseIsExplained(t *testing.T) {
	for _, args := range [][]string{{"weather"}, {"status", "now"}, {"peers", "--yaml"}} {
		if _, err := run(t, shown{}, args...); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}
