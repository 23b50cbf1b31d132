package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// poolOf is the pool of Docker's network on the host.
func poolOf(t *testing.T, h *testnet.Host, name string) netip.Prefix {
	t.Helper()
	var n struct {
		IPAM struct{ Config []struct{ Subnet string } }
	}
	if err := h.Inspect(t.Context(), "network", name, &n); err != nil || len(n.IPAM.Config) != 1 {
		t.Fatalf("%s: network %s: %+v, %v", h.Name, name, n, err)
	}
	return netip.MustParsePrefix(n.IPAM.Config[0].Subnet)
}

// environment says whether the environment has a network, as the host sees it, and its pool.
func environment(t *testing.T, h *testnet.Host, name string) (pool netip.Prefix, ok bool) {
	t.Helper()
	var all []control.Network
	if err := h.MeshsecJSON(t.Context(), &all, "networks"); err != nil {
		t.Fatal(err)
	}
	for _, n := range all {
		if n.Name == name {
			return n.Pool, true
		}
	}
	return pool, false
}

// silent fails the test if one of the addresses answers.
func (s *suite) silent(t *testing.T, from *testnet.Container, to ...*testnet.Container) {
	t.Helper()
	for _, c := range to {
		if p, err := from.Ping(t.Context(), s.watch.Canary, c.Addr, 1); err == nil || p.Received != 0 {
			t.Errorf("%s on %s reaches %s on %s, in another network", from.Name, from.Host.Name, c.Name, c.Host.Name)
		}
	}
}

// TestSeveralNetworks: networks have pools of their own, the same on every host whatever the order in which they are made there,
// and no packet goes from one to another, not by a container that is in two of them.
func TestSeveralNetworks(t *testing.T) {
	s := shared(t)
	ctx := t.Context()
	const red, green, lone = "red", "green", "lone"
	named := func(name string) []string { return []string{"--ipam-opt", "meshsec.network=" + name} }
	for i, h := range s.Hosts[:2] {
		order := []string{red, green}
		if i == 1 {
			order = []string{green, red}
		}
		for _, name := range order {
			network(t, h, name, named(name)...)
		}
	}
	network(t, s.Hosts[0], lone, named(lone)...)
	pools := map[netip.Prefix]string{poolOf(t, s.Hosts[0], mesh): mesh, poolOf(t, s.Hosts[0], lone): lone}
	for _, name := range []string{red, green} {
		pool := poolOf(t, s.Hosts[0], name)
		if other := poolOf(t, s.Hosts[1], name); other != pool {
			t.Errorf("%s has the pools %v and %v", name, pool, other)
		}
		if other, taken := pools[pool]; taken {
			t.Errorf("%s and %s have the pool %v", name, other, pool)
		}
		pools[pool] = name
	}
	all := map[string][]*testnet.Container{lone: {start(t, s.Hosts[0], lone, "in-lone")}}
	for _, name := range []string{red, green} {
		for _, h := range s.Hosts[:2] {
			all[name] = append(all[name], start(t, h, name, "in-"+name))
		}
		s.reach(t, all[name][0], all[name][1].Addr)
		s.reach(t, all[name][1], all[name][0].Addr)
	}
	both := start(t, s.Hosts[0], red, "both")
	if _, err := s.Hosts[0].Docker(ctx, "network", "connect", green, both.Name); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{red, green} {
		for _, c := range all[name] {
			s.reach(t, both, c.Addr)
		}
	}
	inGreen, err := s.Hosts[0].Container(ctx, green, both.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all[red] {
		s.silent(t, c, append(all[green], inGreen)...)
	}
	for _, c := range all[green] {
		s.silent(t, c, append(all[red], both)...)
	}
	s.silent(t, all[lone][0], slices.Concat(all[red], all[green])...) // a network of one host
	s.silent(t, all[red][0], all[lone]...)

	// The container in both is no router for the others, though they ask it to be.
	sly := start(t, s.Hosts[1], red, "sly", "--cap-add", "NET_ADMIN")
	s.reach(t, sly, both.Addr)
	for _, c := range all[green] {
		if out, err := sly.Exec(ctx, "ip", "route", "add", c.Addr.String(), "via", both.Addr.String(), "dev", "eth0"); err != nil {
			t.Fatal(err, out)
		}
	}
	s.silent(t, sly, all[green]...)
}

// TestLifeOfANetwork: hosts call it as they like; it is the environment's as long as one host has it, and then it is gone, so
// that the name is free for another pool.
func TestLifeOfANetwork(t *testing.T) {
	s := shared(t)
	ctx := t.Context()
	a, b, c := s.Hosts[0], s.Hosts[1], s.Hosts[2]
	shop := []string{"--ipam-opt", "meshsec.network=shop"}
	for round, pool := range []string{"10.80.0.0/16", "10.81.0.0/20"} {
		for h, name := range map[*testnet.Host]string{a: "alpha", b: "beta"} {
			docker(t, h, with(append(shop, "--subnet", pool, name)...))
		}
		refused(t, a, []string{"shop", "already on this host"}, with(append(shop, "gamma")...)...)
		refused(t, c, []string{"shop", pool}, with(append(shop, "--subnet", "10.90.0.0/16", "gamma")...)...)
		near, far := start(t, a, "alpha", "near"), start(t, b, "beta", "far")
		s.reach(t, near, far.Addr)
		e, err := known(ctx, b, near.Addr)
		if err != nil || e.Network != "shop" {
			t.Errorf("%+v, %v", e, err)
		}

		remove(t, a, "near")
		docker(t, a, []string{"network", "rm", "alpha"})
		if got, ok := environment(t, b, "shop"); !ok || got.String() != pool {
			t.Errorf("removed from one host, it is %v on the other, %v", got, ok)
		}
		docker(t, a, with(append(shop, "omega")...)) // under a third name, by its name alone
		again := start(t, a, "omega", "again")
		s.reach(t, far, again.Addr)
		if got := poolOf(t, a, "omega"); got.String() != pool {
			t.Errorf("round %d: it came back with %v", round, got)
		}

		remove(t, a, "again")
		remove(t, b, "far")
		docker(t, a, []string{"network", "rm", "omega"})
		docker(t, b, []string{"network", "rm", "beta"})
		eventually(t, "the end of the network's facts", func() error {
			for _, h := range s.Hosts {
				if pool, ok := environment(t, h, "shop"); ok {
					return fmt.Errorf("%s still knows it, with %v", h.Name, pool)
				}
			}
			return nil
		})
	}
}
