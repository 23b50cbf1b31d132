package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// known is what a host knows of the endpoint with the address.
func known(ctx context.Context, h *testnet.Host, addr netip.Addr) (control.Endpoint, error) {
	var all []control.Endpoint
	if err := h.MeshsecJSON(ctx, &all, "endpoints"); err != nil {
		return control.Endpoint{}, err
	}
	for _, e := range all {
		if e.Addr == addr {
			return e, nil
		}
	}
	return control.Endpoint{}, fmt.Errorf("%s knows no endpoint with the address %v", h.Name, addr)
}

// TestNames: what Docker says of a container is known on every host, and follows what is changed.
func TestNames(t *testing.T) {
	s := shared(t)
	ctx := t.Context()
	near, far := s.Hosts[0], s.Hosts[1]
	c := start(t, near, mesh, "shop_web_1", "--network-alias", "web", "--network-alias", "www",
		"-l", "com.docker.compose.project=shop", "-l", "com.docker.compose.service=web", "-l", "com.docker.compose.oneoff=False",
		"-l", "tier=front", "-p", "9000", "-p", "127.0.0.1:9053:53/udp", "--expose", "7000")
	published, err := near.Docker(ctx, "port", c.Name, "9000/tcp")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(strings.Fields(published)[0], ":")
	want := []string{"127.0.0.1:9053->53/udp", "7000/tcp", fmt.Sprintf("*:%s->9000/tcp", port)}
	eventually(t, "the description on another host", func() error {
		e, err := known(ctx, far, c.Addr)
		if err != nil {
			return err
		}
		if e.Name != "shop_web_1" || e.Service != "web" || e.Project != "shop" || !slices.Equal(e.Aliases, []string{"web", "www"}) ||
			len(e.Labels) != 1 || e.Labels["tier"] != "front" || !slices.Equal(e.Ports, want) || e.Container == "" {
			return fmt.Errorf("%+v, want the ports %q", e, want)
		}
		return nil
	})
	called := func(name string) {
		t.Helper()
		eventually(t, "the name "+name, func() error {
			e, err := known(ctx, far, c.Addr)
			if err == nil && e.Name != name {
				err = fmt.Errorf("it is %q", e.Name)
			}
			return err
		})
	}
	if _, err := near.Docker(ctx, "rename", c.Name, "renamed"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, near, "renamed") })
	called("renamed")
	if text, err := far.Meshsec(ctx, "endpoints"); err != nil || !strings.Contains(text, "renamed") || !strings.Contains(text, "shop/web") {
		t.Errorf("%v: %s", err, text)
	}
}

// TestNamesAfterDockerdsRestart: a dockerd that was replaced is listened to as its predecessor was, and what was renamed
// meanwhile, or while the plugin was away, is noticed.
func TestNamesAfterDockerdsRestart(t *testing.T) {
	s := own(t, 1)
	ctx := t.Context()
	h := s.Hosts[0]
	if err := s.joinAll(ctx); err != nil {
		t.Fatal(err)
	}
	start(t, h, mesh, "first", "--restart", "always", "--network-alias", "web")
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := errors.Join(h.StopDockerd(ctx, sig), h.StartDockerd(ctx)); err != nil {
			t.Fatal(err)
		}
		c, err := h.Container(ctx, mesh, "first")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"second", "first"} {
			old := c.Name
			if _, err := h.Docker(ctx, "rename", old, name); err != nil {
				t.Fatal(err)
			}
			c.Name = name
			eventually(t, "the name", func() error {
				e, err := known(ctx, h, c.Addr)
				if err == nil && (e.Name != name || !slices.Contains(e.Aliases, "web")) { // a renamed container's host name is one, too
					err = fmt.Errorf("%+v", e)
				}
				return err
			})
		}
	}
}
