package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// TestRemovedHost: one command on the founder shuts a host out. The others drop its tunnels and routes, it cuts its own
// containers off, even from each other, and says so, and it comes back neither by a restart nor with its token.
func TestRemovedHost(t *testing.T) {
	s := own(t, 3)
	ctx := t.Context()
	if err := s.joinAll(ctx); err != nil {
		t.Fatal(err)
	}
	founder, other, edge := s.Hosts[0], s.Hosts[1], s.Hosts[2]
	a, b := start(t, founder, mesh, "one"), start(t, other, mesh, "two")
	stolen, beside := start(t, edge, mesh, "stolen"), start(t, edge, mesh, "beside")
	s.reach(t, a, stolen.Addr)
	s.reach(t, stolen, b.Addr)
	s.reach(t, stolen, beside.Addr)
	if out, err := edge.Meshsec(ctx, "host", "rm", founder.Name); err == nil {
		t.Fatalf("a host without the authority removed another: %s", out)
	}
	if out, err := founder.Meshsec(ctx, "host", "rm", edge.Name); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	began := time.Now()
	for _, h := range s.Hosts[:2] {
		eventually(t, "the peer's end on "+h.Name, func() error {
			var peers []control.Peer
			if err := h.MeshsecJSON(ctx, &peers, "peers"); err != nil {
				return err
			}
			routes, err := h.RunRouter(ctx, "ip", "route", "show", stolen.Addr.String())
			if len(peers) != 1 || strings.TrimSpace(routes) != "" {
				err = fmt.Errorf("%d peers, routes %q", len(peers), routes)
			}
			return err
		})
	}
	eventually(t, "the removed host's own word", func() error {
		out, err := edge.Meshsec(ctx, "status")
		if err == nil || !strings.Contains(out+err.Error(), "was removed from the environment") {
			return fmt.Errorf("%v: %s", err, out)
		}
		return nil
	})
	t.Logf("all hosts had dropped it %s after the command", time.Since(began).Round(10*time.Millisecond))
	cut := func(when string) {
		t.Helper()
		eventually(t, when, func() error {
			for _, to := range []struct {
				name string
				err  error
			}{{"another host", pings(t, s, stolen, b)}, {"its neighbour", pings(t, s, stolen, beside)}, {"it", pings(t, s, a, stolen)}} {
				if to.err == nil {
					return errors.New(to.name + " is still reached")
				}
			}
			return nil
		})
	}
	cut("the removed host's silence")
	s.reach(t, a, b.Addr)
	refused(t, edge, []string{"removed from the environment"}, "run", "--name", "late", "--network", mesh, testnet.Image)
	if _, err := edge.KillAgent(9); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the restarted agent's word", func() error {
		out, err := edge.Meshsec(ctx, "status")
		if err == nil || !strings.Contains(out+err.Error(), "was removed from the environment") {
			return fmt.Errorf("%v: %s", err, out)
		}
		return nil
	})
	cut("silence after a restart")
}

func pings(t *testing.T, s *suite, from, to *testnet.Container) error {
	t.Helper()
	_, err := from.Ping(t.Context(), s.watch.Canary, to.Addr, 1)
	return err
}
