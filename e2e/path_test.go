package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// TestNarrowPath: when the path between two hosts gets narrower, with ICMP messages that say so or without, that pair's routes
// follow within seconds, TCP that is under way goes on, and other pairs keep what they have.
func TestNarrowPath(t *testing.T) {
	s := special(t, testnet.Options{Hosts: 3, Docker: true})
	if err := s.joinAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	var boxes []*testnet.Container
	for i, h := range s.Hosts {
		boxes = append(boxes, start(t, h, mesh, fmt.Sprintf("box%d", i)))
	}
	s.everyPair(t, boxes)
	narrow := map[string]int{}
	for _, c := range []struct {
		a, b   int
		silent bool
	}{{0, 1, true}, {1, 2, false}} {
		a, b := boxes[c.a], boxes[c.b]
		t.Run(fmt.Sprintf("%s and %s, silent %v", a.Host.Name, b.Host.Name, c.silent), func(t *testing.T) {
			s.hold(t)
			s.mtus(t, 1438, narrow)
			during := s.transfers(t, a, b)
			began := time.Now()
			if err := s.Narrow(t.Context(), a.Host, b.Host, 1400, c.silent); err != nil {
				t.Fatal(err)
			}
			narrow[a.Host.Name+" "+b.Host.Name] = 1338
			s.mtus(t, 1438, narrow)
			t.Logf("known after %s", time.Since(began).Round(time.Second/10))
			during()
			t.Logf("the transfer under way took until %s", time.Since(began).Round(time.Second/10))
			for _, pair := range [][2]*testnet.Container{{a, b}, {b, a}} {
				out, err := pair[0].Host.RunRouter(t.Context(), "ip", "route", "show", pair[1].Addr.String())
				if err != nil || !strings.Contains(out, "mtu 1338") {
					t.Errorf("%s: route %q, %v", pair[0].Host.Name, out, err)
				}
				s.fits(t, pair[0], pair[1], 1338)
			}
			s.everyPair(t, boxes)
			s.mtus(t, 1438, narrow)
		})
	}
	s.fits(t, boxes[0], boxes[2], 1438)
}

// TestJumboUnderlay: what a wide underlay carries is used, and given up when it gets narrow.
func TestJumboUnderlay(t *testing.T) {
	s := special(t, testnet.Options{Hosts: 3, Docker: true, MTU: 9000})
	if err := s.joinAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	var boxes []*testnet.Container
	for i, h := range s.Hosts {
		boxes = append(boxes, start(t, h, mesh, fmt.Sprintf("box%d", i)))
	}
	if mtus, err := boxes[0].Exec(t.Context(), "sh", "-c", "cat /sys/class/net/*/mtu"); err != nil || !strings.Contains(mtus, "8938") {
		t.Errorf("the container's links have MTUs %q, %v", mtus, err)
	}
	s.mtus(t, 8938, nil)
	s.everyPair(t, boxes)
	s.fits(t, boxes[0], boxes[1], 8938) // 8910 bytes of payload

	during := s.transfers(t, boxes[0], boxes[1])
	if err := s.SetMTU(t.Context(), 1500); err != nil {
		t.Fatal(err)
	}
	s.mtus(t, 1440, nil)
	during()
	s.everyPair(t, boxes)

	// The hosts' own links follow.
	for _, h := range s.Hosts {
		if _, err := h.Run(t.Context(), "ip", "link", "set", "eth0", "mtu", "1500"); err != nil {
			t.Fatal(err)
		}
	}
	s.mtus(t, 1438, nil)
	s.everyPair(t, boxes)
}

// mtus waits until the peers of all hosts have an MTU, to within what a search leaves open: those that pairs names, others the
// usual one.
func (s *suite) mtus(t *testing.T, usual int, pairs map[string]int) {
	t.Helper()
	for _, h := range s.Hosts {
		eventually(t, "path MTU on "+h.Name, func() error {
			return peersAre(t, h, func(p control.Peer) error {
				want, known := pairs[min(h.Name, p.Name)+" "+max(h.Name, p.Name)]
				if !known {
					want = usual
				}
				if p.State != "up" || p.MTU < want-2 || p.MTU > want+2 {
					return fmt.Errorf("%s is %s with MTU %d, want %d", p.Name, p.State, p.MTU, want)
				}
				return nil
			})
		})
	}
}

// transfers sends a megabyte there and back, again and again, until the function that it returns is called. A transfer that
// takes as long as the probe's patience fails the test.
func (s *suite) transfers(t *testing.T, from, to *testnet.Container) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	first := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			if _, err := from.Transfer(t.Context(), s.watch.Canary, to.Addr, megabyte); err != nil {
				done <- fmt.Errorf("transfer %d: %w", n, err)
				return
			}
			if n == 0 {
				close(first)
			}
			if ctx.Err() != nil {
				done <- nil
				return
			}
		}
	}()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	select {
	case <-first:
	case <-time.After(patience):
		stop()
		t.Fatal("no transfer before the change")
	}
	return stop
}
