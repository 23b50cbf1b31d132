package e2e

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// grid is hosts without Docker: two public ones, and others behind each kind of NAT. All homes have the same private network.
//
//	h1 (etcd), h2 ─────────────────────────────── underlay
//	keep:    k, k2  Linux's masquerade; k2 has PORT=4501, or the NAT would have to choose it a port for each destination
//	map:     m1, m2 one NAT, a port for each
//	cgn:     c1, c2 each behind a NAT of its own, both of them behind the carrier's
//	rnd1: r1, rnd2: r2  another port for each destination
//	fwd:     f      such a NAT, too, that forwards port 14500
type grid struct {
	*suite
	nats map[string]*testnet.NAT
	host map[string]*testnet.Host
}

// newGrid starts the hosts and their agents.
func newGrid(t *testing.T) *grid {
	t.Helper()
	s := special(t, testnet.Options{Hosts: 2, NAT: true})
	g := &grid{suite: s, nats: map[string]*testnet.NAT{}, host: map[string]*testnet.Host{"h1": s.Hosts[0], "h2": s.Hosts[1]}}
	ctx := t.Context()
	carrier, err := s.AddCarrier(ctx, "cgn", testnet.Map)
	if err != nil {
		t.Fatal(err)
	}
	g.nats["cgn"] = carrier
	for _, home := range []struct {
		nat    string
		behind *testnet.NAT
		kind   testnet.Translation
		hosts  []string
	}{
		{"keep", nil, testnet.Keep, []string{"k", "k2"}},
		{"map", nil, testnet.Map, []string{"m1", "m2"}},
		{"home1", carrier, testnet.Keep, []string{"c1"}},
		{"home2", carrier, testnet.Keep, []string{"c2"}},
		{"rnd1", nil, testnet.Random, []string{"r1"}},
		{"rnd2", nil, testnet.Random, []string{"r2"}},
		{"fwd", nil, testnet.Random, []string{"f"}},
	} {
		nat, err := s.AddNAT(ctx, home.nat, home.behind, home.kind)
		if err != nil {
			t.Fatal(err)
		}
		g.nats[home.nat] = nat
		w, err := nat.Watch()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Close() })
		w.Canary = s.watch.Canary
		w.Check(t)
		for _, name := range home.hosts {
			if g.host[name], err = nat.AddHost(ctx, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := g.nats["fwd"].Forward(ctx, 14500, g.host["f"]); err != nil {
		t.Fatal(err)
	}
	g.startAgents(t)
	return g
}

func (g *grid) startAgents(t *testing.T) {
	t.Helper()
	var group errgroup.Group
	for name, h := range g.host {
		settings := append(planeSettings(h), "LISTEN=off")
		switch name {
		case "f":
			settings = append(settings, fmt.Sprintf("ADVERTISE=%s:14500", g.nats["fwd"].Addr()))
		case "k2":
			settings = append(settings, "PORT=4501")
		}
		if name == "h1" {
			if _, err := h.StartAgent(settings...); err != nil {
				t.Fatal(err)
			}
			continue
		}
		group.Go(func() error {
			token, err := g.host["h1"].Token(t.Context())
			if err == nil {
				_, err = h.StartAgent(append(settings, "JOIN="+token)...)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// open tells whether two hosts can reach each other: where a NAT chooses another port for each destination, the other side must let
// in what comes from an unknown one.
func open(a, b string) bool {
	public := map[string]bool{"h1": true, "h2": true, "f": true}
	random := map[string]bool{"r1": true, "r2": true}
	return public[a] || public[b] || !random[a] && !random[b]
}

// peer is what a host says of another.
func (g *grid) peer(ctx context.Context, on, of string) (control.Peer, error) {
	var peers []control.Peer
	if err := g.host[on].MeshsecJSON(ctx, &peers, "peers"); err != nil {
		return control.Peer{}, err
	}
	for _, p := range peers {
		if p.Name == of {
			return p, nil
		}
	}
	return control.Peer{}, fmt.Errorf("%s does not know %s", on, of)
}

// up returns when the tunnel between two hosts carries packets, full of the canary.
func (g *grid) up(ctx context.Context, limit time.Duration, a, b string) error {
	canary := hex.EncodeToString(g.watch.Canary[:])
	err := testnet.Until(ctx, limit, func() error {
		var hosts []control.Host
		if err := g.host[a].MeshsecJSON(ctx, &hosts, "hosts"); err != nil {
			return err
		}
		for _, h := range hosts {
			if h.Name == b {
				_, err := g.host[a].RunRouter(ctx, "ping", "-q", "-c1", "-W1", "-p", canary, h.Router.String())
				return err
			}
		}
		return fmt.Errorf("%s does not know %s", a, b)
	})
	if err != nil {
		p, _ := g.peer(ctx, a, b)
		return fmt.Errorf("%s to %s: %w; %s %s", a, b, err, p.State, p.Reason)
	}
	return nil
}

// all checks every pair: that it is up, or that the reason why not is shown.
func (g *grid) all(t *testing.T, limit time.Duration, pairs func(a, b string) bool) {
	t.Helper()
	var group errgroup.Group
	group.SetLimit(8)
	for a := range g.host {
		for b := range g.host {
			if a == b || !pairs(a, b) {
				continue
			}
			group.Go(func() error {
				var err error
				if open(a, b) {
					err = g.up(t.Context(), limit, a, b)
				} else {
					err = g.told(t.Context(), limit, a, b)
				}
				if err != nil {
					t.Error(err)
				}
				return nil
			})
		}
	}
	_ = group.Wait()
}

// told returns when a host says why it does not reach another.
func (g *grid) told(ctx context.Context, limit time.Duration, a, b string) error {
	return testnet.Until(ctx, limit, func() error {
		p, err := g.peer(ctx, a, b)
		switch {
		case err != nil:
			return err
		case p.State == "up":
			return testnet.Final(fmt.Errorf("%s reaches %s", a, b))
		case !strings.Contains(p.Reason, "no answer") || !strings.Contains(p.Reason, "NAT that changes ports") && !strings.Contains(p.Reason, "NATs that change ports"):
			return errors.New(a + " to " + b + ": " + p.State + ": " + p.Reason)
		}
		return nil
	})
}

// Every pair that can work does, directly; the others say why not.
func TestNATGrid(t *testing.T) {
	g := newGrid(t)
	every := func(string, string) bool { return true }
	g.all(t, 3*patience, every)
	if t.Failed() {
		return
	}
	g.direct(t)
	for _, change := range []struct {
		what string
		of   []string
		make func(ctx context.Context) error
	}{
		{"a mapping is forgotten", []string{"k", "k2"}, func(context.Context) error { return g.nats["keep"].Forget() }},
		{"the carrier's ports change", []string{"c1", "c2"}, g.nats["cgn"].Remap},
		{"a provider gives a home another address", []string{"k", "k2"}, func(ctx context.Context) error { return g.nats["keep"].Renumber(ctx, 77) }},
		{"random ports change", []string{"r1"}, func(context.Context) error { return g.nats["rnd1"].Forget() }},
		{"a host gets another address in its LAN", []string{"m2"}, func(ctx context.Context) error { return g.move(ctx, "m2", "172.30.1.22") }},
		{"a public host gets another address", []string{"h2"}, func(ctx context.Context) error { return g.move(ctx, "h2", "172.30.0.22") }},
	} {
		t.Run(strings.ReplaceAll(change.what, " ", "_"), func(t *testing.T) {
			if err := change.make(t.Context()); err != nil {
				t.Fatal(err)
			}
			g.all(t, 3*patience, func(a, b string) bool {
				return open(a, b) && (slices.Contains(change.of, a) || slices.Contains(change.of, b))
			})
		})
	}
	t.Run("the_founder_gets_another_address", func(t *testing.T) { g.founderMoves(t) })
}

// founderMoves gives the host with the etcd another address. It serves again; who is public hears of the tunnel's end from it, for
// nobody else reaches etcd any more.
func (g *grid) founderMoves(t *testing.T) {
	if err := g.move(t.Context(), "h1", "172.30.0.11"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "status of the founder", func() error {
		var s control.Status
		if err := g.host["h1"].MeshsecJSON(t.Context(), &s, "status"); err != nil {
			return err
		}
		if !s.Etcd.Reachable || len(s.Underlay) != 1 || s.Underlay[0] != "172.30.0.11:4500" {
			return fmt.Errorf("%s at %v: %s", s.Health, s.Underlay, s.Etcd.Why)
		}
		return nil
	})
	for _, other := range []string{"h2", "f"} {
		if err := g.up(t.Context(), patience, "h1", other); err != nil {
			t.Error(err)
		}
	}
}

// move gives a host another address in place of its own.
func (g *grid) move(ctx context.Context, name, to string) error {
	_, err := g.host[name].Run(ctx, "sh", "-e", "-c", `route=$(ip -o route show default)
		ip addr flush dev eth0 scope global; ip addr add `+to+`/24 dev eth0; ip route add $route`)
	return err
}

// direct checks where the tunnels go.
func (g *grid) direct(t *testing.T) {
	for _, c := range []struct{ on, of, at string }{
		{"h2", "k", g.nats["keep"].Addr().String() + ":4500"},
		{"h2", "k2", g.nats["keep"].Addr().String() + ":4501"},
		{"k", "k2", g.host["k2"].Addr.String() + ":4501"},
		{"k", "m1", g.nats["map"].Addr().String() + ":20001"},
		{"k", "m2", g.nats["map"].Addr().String() + ":20002"},
		{"k", "c1", g.nats["cgn"].Addr().String() + ":20001"},
		{"c1", "c2", g.nats["cgn"].Addr().String() + ":20002"},
		{"m1", "m2", g.host["m2"].Addr.String() + ":4500"},
		{"m2", "m1", g.host["m1"].Addr.String() + ":4500"},
		{"r1", "f", g.nats["fwd"].Addr().String() + ":14500"},
		{"c1", "h1", g.host["h1"].Addr.String() + ":4500"},
	} {
		eventually(t, c.on+" to "+c.of, func() error {
			p, err := g.peer(t.Context(), c.on, c.of)
			if err == nil && (p.State != "up" || p.Remote != c.at) {
				err = fmt.Errorf("%s at %s, not at %s: %s", p.State, p.Remote, c.at, p.Reason)
			}
			return err
		})
	}
}
