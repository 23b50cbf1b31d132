package e2e

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/internal/testnet"
)

// claimer claims one address after another for a host, and goes on with the same one after an error.
type claimer struct {
	engine *testnet.Engine
	first  netip.Addr

	mu   sync.Mutex
	done []netip.Addr // acknowledged
}

func (c *claimer) run(ctx context.Context) {
	for addr := c.first; ctx.Err() == nil; {
		if c.engine.Claim(ctx, addr) != nil {
			continue
		}
		c.mu.Lock()
		c.done = append(c.done, addr)
		c.mu.Unlock()
		addr = addr.Next()
	}
}

func (c *claimer) acknowledged() []netip.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.done)
}

// TestMembersKilledUnderWrites: of three members of the embedded etcd one after the other is killed while all hosts claim addresses, the
// leader among them. What a host was told that it has, no other host gets, and all three are members afterwards.
func TestMembersKilledUnderWrites(t *testing.T) {
	s := special(t, testnet.Options{Hosts: 3})
	ctx, cancel := context.WithCancel(t.Context())
	agents := make([]*testnet.Process, len(s.Hosts))
	for i, h := range s.Hosts {
		settings := []string{"ETCD_MEMBERS=3"}
		if i > 0 {
			token, err := s.Hosts[0].Token(ctx)
			if err != nil {
				t.Fatal(err)
			}
			settings = append(settings, "JOIN="+token)
		}
		agents[i] = startAgent(t, h, settings...)
	}
	claimers := make([]*claimer, len(s.Hosts))
	for i, h := range s.Hosts {
		spare(t, h, 3, 1)
		claimers[i] = &claimer{engine: testnet.NewEngine(h), first: netip.AddrFrom4([4]byte{10, 42, byte(60 * (i + 1)), 0})}
		if err := claimers[i].engine.CreateNetwork(ctx); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for _, c := range claimers {
		all.Go(func() { c.run(ctx) })
	}
	t.Cleanup(func() { cancel(); all.Wait() })
	more := func(what string) { // each host is told so of another address
		t.Helper()
		for i, c := range claimers {
			before := len(c.acknowledged())
			eventually(t, what+": a claim of "+s.Hosts[i].Name, func() error {
				if len(c.acknowledged()) == before {
					return context.DeadlineExceeded
				}
				return nil
			})
		}
	}
	more("three members")
	for i, h := range s.Hosts {
		if err := agents[i].Stop(ctx, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		others := slices.Concat(claimers[:i], claimers[i+1:])
		before := len(others[0].acknowledged())
		eventually(t, "a claim without "+h.Name, func() error {
			if len(others[0].acknowledged()) == before {
				return context.DeadlineExceeded
			}
			return nil
		})
		agents[i] = startAgent(t, h, "ETCD_MEMBERS=3") // who it is, it knows
		more("with " + h.Name + " again")
		spare(t, h, 3, 1)
	}
	cancel()
	all.Wait()
	total := 0
	for i, c := range claimers {
		other := claimers[(i+1)%len(claimers)].engine
		for _, addr := range c.acknowledged() {
			total++
			if err := other.Claim(t.Context(), addr); err == nil || !strings.Contains(err.Error(), s.Hosts[i].Name) {
				t.Errorf("%s was told that it has %s, and another host that it has it, too: %v", s.Hosts[i].Name, addr, err)
			}
		}
	}
	t.Logf("figure: %d claims were acknowledged", total)
}
