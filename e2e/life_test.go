package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/internal/testnet"
)

// TestCase19FiftyContainers: started at once on two hosts they have fifty addresses, and leave nothing.
func TestCase19FiftyContainers(t *testing.T) {
	s := shared(t)
	before := footprint(t, s)
	const each = 25
	all := make([]*testnet.Container, 2*each)
	names := func(host int) (list []string) {
		for i := range each {
			list = append(list, fmt.Sprintf("many%d-%d", host, i))
		}
		return list
	}
	for host := range 2 {
		t.Cleanup(func() { remove(t, s.Hosts[host], names(host)...) })
	}
	var group errgroup.Group
	for host := range 2 {
		for i, name := range names(host) {
			group.Go(func() (err error) {
				all[host*each+i], err = s.Hosts[host].StartContainer(t.Context(), mesh, name)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	seen := make(map[netip.Addr]string)
	for _, c := range all {
		if other, twice := seen[c.Addr]; twice {
			t.Errorf("%s and %s both have %s", c.Name, other, c.Addr)
		}
		seen[c.Addr] = c.Name
	}
	for i := 0; i < each; i += 6 {
		s.reach(t, all[i], all[each+i].Addr)
		s.reach(t, all[each+i], all[i].Addr)
	}
	for _, h := range s.Hosts[:2] {
		figures, err := metricsOf(h)
		for line := range strings.Lines(figures) {
			if strings.Contains(line, `bucket{method="NetworkDriver.Join",result="ok",le="1"`) {
				t.Logf("figure: %s: %s", h.Name, line)
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
	for host := range 2 {
		remove(t, s.Hosts[host], names(host)...)
	}
	leftNothing(t, s, before)
}

// TestCase19ContainerLife: stop, start, restart and a failed start; nothing is left at the end.
func TestCase19ContainerLife(t *testing.T) {
	s := shared(t)
	before := footprint(t, s)
	near, far := s.Hosts[0], s.Hosts[1]
	peer := start(t, far, mesh, "peer")
	c := start(t, near, mesh, "cycled")
	fixed := start(t, near, mesh, "fixed", "--ip", "10.42.5.5")
	for _, verb := range []string{"restart", "stop", "start", "kill", "start"} {
		if _, err := near.Docker(t.Context(), verb, c.Name, fixed.Name); err != nil {
			t.Fatal(err)
		}
		if verb == "stop" || verb == "kill" {
			continue
		}
		now, err := near.Container(t.Context(), mesh, c.Name)
		if err != nil {
			t.Fatal(err)
		}
		s.reach(t, peer, now.Addr)
		s.reach(t, now, peer.Addr)
		s.reach(t, peer, fixed.Addr)
	}
	refused(t, near, []string{"no-such-command"}, "run", "--name", "broken", "--network", mesh, testnet.Image, "no-such-command")
	remove(t, near, "cycled", "fixed", "broken")
	remove(t, far, "peer")
	leftNothing(t, s, before)
}

// TestCase20DockerdRestart: after a stop and after a kill of dockerd containers come back, and nothing is left of those that do not.
func TestCase20DockerdRestart(t *testing.T) {
	s := shared(t)
	before := footprint(t, s)
	near, far := s.Hosts[2], s.Hosts[1]
	peer := start(t, far, mesh, "peer")
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			back := start(t, near, mesh, "back", "--restart", "always", "--ip", "10.42.6.6")
			start(t, near, mesh, "ends")
			s.reach(t, peer, back.Addr)
			if err := near.StopDockerd(t.Context(), sig); err != nil {
				t.Fatal(err)
			}
			if err := near.StartDockerd(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.reach(t, peer, back.Addr)
			if _, err := back.Transfer(t.Context(), s.watch.Canary, peer.Addr, megabyte); err != nil {
				t.Error(err)
			}
		})
	}
	remove(t, far, "peer")
	leftNothing(t, s, before)
}
