package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/internal/testnet"
)

// named waits until the host knows the container by its name, from where on its address waits for it.
func named(t *testing.T, c *testnet.Container) {
	t.Helper()
	eventually(t, "the name of "+c.Name, func() error {
		e, err := known(t.Context(), c.Host, c.Addr)
		if err == nil && (e.Name != c.Name || e.Container == "") {
			err = fmt.Errorf("%+v", e)
		}
		return err
	})
}

// docker runs docker commands on the host, one after the other.
func docker(t *testing.T, h *testnet.Host, commands ...[]string) {
	t.Helper()
	for _, args := range commands {
		if _, err := h.Docker(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
}

func address(t *testing.T, h *testnet.Host, network, name string) netip.Addr {
	t.Helper()
	c, err := h.Container(t.Context(), network, name)
	if err != nil {
		t.Fatal(err)
	}
	return c.Addr
}

// TestStickyAddresses: a container that comes back gets its address back, whatever others do meanwhile.
func TestStickyAddresses(t *testing.T) {
	s := shared(t)
	h := s.Hosts[0]
	web, db := start(t, h, mesh, "web"), start(t, h, mesh, "db")
	named(t, web)
	named(t, db)
	same := func(what string, c *testnet.Container) {
		t.Helper()
		if got := address(t, h, mesh, c.Name); got != c.Addr {
			t.Errorf("%s: %s had %v and has %v", what, c.Name, c.Addr, got)
		}
		named(t, c)
	}
	docker(t, h, []string{"restart", "-t", "0", "web"})
	same("restart", web)

	// Both are stopped, a new one starts, then they come back in the other order.
	docker(t, h, []string{"stop", "-t", "0", "db", "web"})
	if other := start(t, h, mesh, "other"); other.Addr == web.Addr || other.Addr == db.Addr {
		t.Errorf("%v was taken, though it waits for its container", other.Addr)
	}
	docker(t, h, []string{"start", "web"}, []string{"start", "db"})
	same("stop and start", web)
	same("stop and start", db)

	docker(t, h, []string{"kill", "web"}, []string{"start", "web"})
	same("kill and start", web)
	docker(t, h, []string{"network", "disconnect", mesh, "web"}, []string{"network", "connect", mesh, "web"})
	same("disconnect and connect", web)

	// As `compose up --force-recreate` does it: the new one is made under another name.
	docker(t, h, []string{"create", "--name", "tmp_web", "--network", mesh, testnet.Image}, []string{"stop", "-t", "0", "web"},
		[]string{"rm", "web"}, []string{"rename", "tmp_web", "web"}, []string{"start", "web"})
	same("recreated", web)
	docker(t, h, []string{"rm", "-f", "web"})
	start(t, h, mesh, "web")
	same("removed and run", web)
	docker(t, h, []string{"rename", "db", "database"})
	t.Cleanup(func() { remove(t, h, "database") })
	db.Name = "database"
	named(t, db)
	docker(t, h, []string{"restart", "-t", "0", "database"})
	same("renamed and restarted", db)

	// Another one takes the address while it is away.
	docker(t, h, []string{"stop", "-t", "0", "web"})
	thief := start(t, h, mesh, "thief", "--ip", web.Addr.String())
	docker(t, h, []string{"start", "web"})
	if got := address(t, h, mesh, "web"); got == web.Addr || thief.Addr != web.Addr {
		t.Errorf("%v twice", got)
	}
	s.reach(t, start(t, s.Hosts[1], mesh, "far"), address(t, h, mesh, "web"))
}

// TestNotSticky: with -o meshsec.sticky=off a freed address rests, for its last container, too.
func TestNotSticky(t *testing.T) {
	s := shared(t)
	h := s.Hosts[0]
	const fickle = "fickle"
	refused(t, h, []string{"meshsec.sticky", "on", "off", "maybe"}, with("--ipam-opt", "meshsec.network=fickle", "-o", "meshsec.sticky=maybe", fickle)...)
	docker(t, h, with("--ipam-opt", "meshsec.network=fickle", "-o", "meshsec.sticky=off", fickle))
	t.Cleanup(func() { removeNetwork(t, h, fickle) })
	c := start(t, h, fickle, "fickle1")
	named(t, c)
	docker(t, h, []string{"restart", "-t", "0", "fickle1"})
	if got := address(t, h, fickle, "fickle1"); got == c.Addr {
		t.Errorf("%v again", got)
	}
}

// TestStickyAfterFailures: the agent's end and dockerd's change nothing. dockerd's own start is another matter: before 29
// nobody says which of the containers with --restart asks, so their addresses only have to be good ones.
func TestStickyAfterFailures(t *testing.T) {
	s := own(t, 1)
	ctx := t.Context()
	h := s.Hosts[0]
	if err := s.joinAll(ctx); err != nil {
		t.Fatal(err)
	}
	web := start(t, h, mesh, "web")
	docker(t, h, []string{"create", "--name", "old", "--network", mesh, testnet.Image}, []string{"start", "old"})
	t.Cleanup(func() { remove(t, h, "old") })
	always := start(t, h, mesh, "always", "--restart", "always")
	for _, c := range []*testnet.Container{web, always} {
		named(t, c)
	}
	if _, err := h.KillAgent(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the agent", func() error { _, err := known(ctx, h, web.Addr); return err })
	docker(t, h, []string{"stop", "-t", "0", "old"})
	restarted(t, h, web)
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := errors.Join(h.StopDockerd(ctx, sig), h.StartDockerd(ctx)); err != nil {
			t.Fatal(err)
		}
		c, err := h.Container(ctx, mesh, "always")
		if err != nil {
			t.Fatal(err)
		}
		docker(t, h, []string{"start", "web"}) // it was stopped with dockerd
		if got := address(t, h, mesh, "web"); got != web.Addr || got == c.Addr {
			t.Errorf("after %v: web had %v and has %v, always has %v", sig, web.Addr, got, c.Addr)
		}
		named(t, c)
		named(t, web)
	}
}

// restarted restarts the container until its address stays: the agent has to have heard of all containers first.
func restarted(t *testing.T, h *testnet.Host, c *testnet.Container) {
	t.Helper()
	eventually(t, "the same address after a restart", func() error {
		before := address(t, h, mesh, c.Name)
		if _, err := h.Docker(context.WithoutCancel(t.Context()), "restart", "-t", "0", c.Name); err != nil {
			return testnet.Final(err)
		}
		if got := address(t, h, mesh, c.Name); got != before {
			return fmt.Errorf("it had %v and has %v", before, got)
		}
		c.Addr = address(t, h, mesh, c.Name)
		named(t, c)
		return nil
	})
}
