package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
	"github.com/meshsec/meshsec/link"
)

// files are the names of what the plugin keeps on the host: its state, and what it has below /run.
func files(t *testing.T, h *testnet.Host) (names []string) {
	t.Helper()
	for _, pattern := range []string{h.Data("docker") + "/plugins/*/propagated-mount/*", "/run/meshsec/*"} {
		found, err := filepath.Glob(fmt.Sprintf("/proc/%d/root%s", h.Pid(), pattern))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	return names
}

// settled waits until each host has made what it has of the cluster's own network, before a footprint is taken.
func settled(t *testing.T, s *suite) {
	t.Helper()
	for _, h := range s.Hosts {
		eventually(t, "the network's bridge on "+h.Name, func() error {
			_, err := h.RunRouter(t.Context(), "ip", "link", "show", link.BridgeName("default"))
			return err
		})
	}
}

// TestCase16NothingIsLeftOfANetwork: of a network and its container no link, route, lease, fact or file is left.
func TestCase16NothingIsLeftOfANetwork(t *testing.T) {
	s := shared(t)
	h := s.Hosts[0]
	settled(t, s)
	before, had := footprint(t, s), files(t, h)
	const brief = "brief"
	docker(t, h, with("--ipam-opt", "meshsec.network="+brief, brief))
	c := start(t, h, brief, "passing")
	docker(t, h, []string{"stop", "-t", "0", c.Name}, []string{"start", c.Name}, []string{"stop", "-t", "0", c.Name},
		[]string{"rm", c.Name}, []string{"network", "rm", brief})
	leftNothing(t, s, before)
	eventually(t, "the end of the network's facts", func() error {
		if pool, ok := environment(t, h, brief); ok {
			return fmt.Errorf("the environment still has it, with %v", pool)
		}
		return nil
	})
	for _, name := range files(t, h) {
		if !slices.Contains(had, name) {
			t.Errorf("%s is left", name)
		}
	}
}

// TestCase18AnyOrderOfNetworks: a running container joins and leaves networks of which one sorts before Docker's own bridge and one
// after it, so that each of them is once the first and once the last to go. It reaches what it is in, and the world all the time.
func TestCase18AnyOrderOfNetworks(t *testing.T) {
	s := shared(t)
	ctx := t.Context()
	h := s.Hosts[0]
	const first = "a-first"
	for _, host := range s.Hosts[:2] {
		network(t, host, first, "--ipam-opt", "meshsec.network="+first)
	}
	peers := map[string]*testnet.Container{first: start(t, s.Hosts[1], first, "peer-first"), mesh: start(t, s.Hosts[1], mesh, "peer-mesh")}
	c := start(t, h, "bridge", "roamer")
	in := map[string]bool{"bridge": true}
	for _, name := range []string{first, mesh, "bridge", first, "bridge", first, mesh, "bridge", mesh, first} {
		verb := "connect"
		if in[name] {
			verb = "disconnect"
		}
		docker(t, h, []string{"network", verb, name, c.Name})
		in[name] = !in[name]
		for network, peer := range peers {
			if in[network] {
				s.reach(t, c, peer.Addr)
			} else if _, err := c.Ping(ctx, s.watch.Canary, peer.Addr, 1); err == nil {
				t.Errorf("after %s %s: it reaches %s", verb, name, network)
			}
		}
		eventually(t, "the world after "+verb+" "+name, func() error {
			_, err := c.Exec(ctx, "ping", "-c1", "-W2", testnet.Internet.String())
			return err
		})
	}
}

// TestCase19Crash: a container whose process dies is started again by its restart policy, and is reached.
func TestCase19Crash(t *testing.T) {
	s := shared(t)
	h := s.Hosts[0]
	c, peer := start(t, h, mesh, "crashing", "--restart", "always"), start(t, s.Hosts[1], mesh, "peer")
	pid := func() (id int, err error) {
		out, err := h.Docker(t.Context(), "inspect", "--format", "{{.State.Pid}}", c.Name)
		if err == nil {
			_, err = fmt.Sscan(out, &id)
		}
		return id, err
	}
	old, err := pid()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Run(t.Context(), "kill", "-9", fmt.Sprint(old)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its new process", func() error {
		now, err := pid()
		if err == nil && (now == 0 || now == old) {
			err = fmt.Errorf("its process is %d", now)
		}
		return err
	})
	if c, err = h.Container(t.Context(), mesh, c.Name); err != nil {
		t.Fatal(err)
	}
	s.reach(t, peer, c.Addr)
}

// TestCase22KilledUnderCalls: the agent is killed while containers start. What fails says why, what is tried again works, and in the
// end nothing is left.
func TestCase22KilledUnderCalls(t *testing.T) {
	s := shared(t)
	h := s.Hosts[1]
	settled(t, s)
	before := footprint(t, s)
	names := []string{"torn0", "torn1", "torn2", "torn3"}
	t.Cleanup(func() { remove(t, h, names...) })
	for range 3 {
		var group errgroup.Group
		for _, name := range names {
			group.Go(func() error {
				_, err := h.Docker(t.Context(), "run", "-d", "--name", name, "--network", mesh, testnet.Image)
				if err != nil && !strings.Contains(err.Error(), "meshsec") {
					return err
				}
				return nil
			})
		}
		if _, err := h.KillAgent(unix.SIGKILL); err != nil {
			t.Error(err)
		}
		if err := group.Wait(); err != nil {
			t.Errorf("an error that does not say what is wrong: %v", err)
		}
		eventually(t, "the agent", func() error {
			var status control.Status
			return h.MeshsecJSON(t.Context(), &status, "status")
		})
		for _, name := range names {
			remove(t, h, name)
		}
	}
	c := start(t, h, mesh, "whole")
	s.reach(t, c, start(t, s.Hosts[0], mesh, "peer").Addr)
	remove(t, h, "whole")
	remove(t, s.Hosts[0], "peer")
	// An address whose answer got lost is nobody's for two minutes.
	were := strings.Split(before, "\n")
	err := testnet.Until(t.Context(), 4*time.Minute, func() error {
		after, err := takeFootprint(t, s)
		for line := range strings.SplitSeq(after, "\n") {
			if err == nil && !slices.Contains(were, line) {
				err = errors.New(line)
			}
		}
		return err
	})
	if err != nil {
		t.Errorf("left: %v", err)
	}
}

// TestCase27ForwardDrop: the host forwards nothing and shows bridged packets to its firewall; containers of one host and of two
// reach each other all the same.
func TestCase27ForwardDrop(t *testing.T) {
	s := shared(t)
	const pass = "/proc/sys/net/bridge/bridge-nf-call-iptables"
	for _, h := range s.Hosts[:2] {
		policy := func(ctx context.Context, to string) error {
			_, err := h.Run(ctx, "iptables", "-P", "FORWARD", to)
			return err
		}
		rules, err := h.Run(t.Context(), "iptables", "-S", "FORWARD")
		if err != nil {
			t.Fatal(err)
		}
		if err := policy(t.Context(), "DROP"); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(rules, "-P FORWARD ACCEPT") {
			t.Cleanup(func() { _ = policy(context.Background(), "ACCEPT") })
		}
		if out, err := h.Run(t.Context(), "sh", "-c", "[ ! -e "+pass+" ] || { cat "+pass+"; echo 1 >"+pass+"; }"); err != nil {
			t.Fatal(err)
		} else if out == "0" {
			t.Cleanup(func() { _, _ = h.Run(context.Background(), "sh", "-c", "echo 0 >"+pass) })
		}
	}
	a, b, far := start(t, s.Hosts[0], mesh, "one"), start(t, s.Hosts[0], mesh, "two"), start(t, s.Hosts[1], mesh, "far")
	s.reach(t, a, b.Addr)
	s.reach(t, b, far.Addr)
	s.reach(t, far, a.Addr)
}

// TestCase28RouteInTheWay: a route of the host lies over the pool that a network would get without --subnet. dockerd asks without end
// for one that it likes; it gets another one at once.
func TestCase28RouteInTheWay(t *testing.T) {
	s := shared(t)
	h := s.Hosts[2]
	const odd = "odd"
	words := with("--ipam-opt", "meshsec.network="+odd, odd)
	docker(t, h, words)
	pool := poolOf(t, h, odd)
	docker(t, h, []string{"network", "rm", odd})
	eventually(t, "the end of the network's facts", func() error {
		if pool, ok := environment(t, h, odd); ok {
			return fmt.Errorf("the environment still has it, with %v", pool)
		}
		return nil
	})
	if _, err := h.Run(t.Context(), "ip", "route", "add", pool.String(), "dev", "eth0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := h.Run(context.Background(), "ip", "route", "del", pool.String(), "dev", "eth0"); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := h.Docker(ctx, words...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeNetwork(t, h, odd) })
	if got := poolOf(t, h, odd); got.Overlaps(pool) {
		t.Errorf("it has %v, over which the host has a route", got)
	}
}

// TestCase31OneAddressInTwoParts: a host that is cut off can't take an address that the others may have given away meanwhile. Healed,
// it is told who has it, and gets it once that has gone.
func TestCase31OneAddressInTwoParts(t *testing.T) {
	s := shared(t)
	near, far := s.Hosts[1], s.Hosts[2]
	const addr = "10.42.11.11"
	taker := func(words ...string) error {
		defer remove(t, far, "second")
		return refusal(t, far, words, "run", "-d", "--name", "second", "--network", mesh, "--ip", addr, testnet.Image)
	}
	if err := s.SetPort(t.Context(), far, false); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.SetPort(context.Background(), far, true) })
	first := start(t, near, mesh, "first", "--ip", addr)
	if err := taker("meshsec"); err != nil {
		t.Error(err)
	}
	if err := s.SetPort(t.Context(), far, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "being told who has it", func() error { return taker(addr, "first", near.Name) })
	s.reach(t, start(t, far, mesh, "other"), first.Addr)
	remove(t, near, "first")
	t.Cleanup(func() { remove(t, far, "heir") })
	eventually(t, "the address on the other host", func() error {
		_, err := far.Docker(t.Context(), "run", "-d", "--name", "heir", "--network", mesh, "--ip", addr, testnet.Image)
		if err != nil {
			remove(t, far, "heir")
		}
		return err
	})
}
