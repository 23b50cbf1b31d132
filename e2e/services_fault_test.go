package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// TestServicesThroughFaults: an agent that is killed answers again at once, from its checkpoint also without etcd; names stay
// through a partition and are right again when it heals. A host that is gone for HOST_GRACE is marked lost, until it is back.
func TestServicesThroughFaults(t *testing.T) {
	s := own(t, 3)
	if err := s.joinAll(t.Context(), "HOST_GRACE=1m"); err != nil {
		t.Fatal(err)
	}
	founder, here, there := s.Hosts[0], s.Hosts[1], s.Hosts[2]
	one := start(t, founder, mesh, "one", "--network-alias", "pair")
	two := start(t, there, mesh, "two", "--network-alias", "pair")
	asker := start(t, here, mesh, "asker", useful...)
	finds(t, asker, "pair", one.Addr.String(), two.Addr.String())

	again := func(what string) {
		t.Helper()
		if _, err := here.KillAgent(unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		finds(t, asker, "two", two.Addr.String())
		t.Logf("figure: %s: names %.2f s after the kill, dockerd's new start of the plugin among it", what, time.Since(began).Seconds())
	}
	again("agent killed")

	// Partition: this host sees nobody for a while.
	if err := s.SetPort(t.Context(), here, false); err != nil {
		t.Fatal(err)
	}
	three := start(t, there, mesh, "three")
	for end := time.Now().Add(12 * time.Second); time.Now().Before(end); {
		if got, err := dig(t, asker, "@"+service, "two"); err != nil || len(got) != 1 {
			t.Fatalf("cut off: %v, %v", got, err)
		}
	}
	again("cut off, agent killed")
	if got, err := dig(t, asker, "@"+service, "_age.meshsec.internal", "TXT"); err != nil || !strings.Contains(strings.Join(got, " "), "etcd=false") {
		t.Errorf("age: %v, %v", got, err)
	}
	if err := s.SetPort(t.Context(), here, true); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	finds(t, asker, "three", three.Addr.String())
	t.Logf("figure: %.2f s after the partition healed", time.Since(began).Seconds())

	lost(t, s, there, asker, one, two)
}

// lost pulls the cable of a host that runs two. After its grace the others mark it lost: it has no routes, and other holders of its
// names only are answered, but nobody gets its addresses. When it is back, all is as before.
func lost(t *testing.T, s *suite, gone *testnet.Host, asker, one, two *testnet.Container) {
	t.Helper()
	if err := s.SetPort(t.Context(), gone, false); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if got, err := dig(t, asker, "@"+service, "two"); err != nil || len(got) != 1 {
		t.Errorf("just gone: %v, %v", got, err)
	}
	withdrawn := func(h *testnet.Host) error {
		var status control.Status
		if err := h.MeshsecJSON(t.Context(), &status, "status"); err != nil {
			return err
		}
		routes, err := h.RunRouter(t.Context(), "ip", "route", "show", two.Addr.String())
		if err != nil {
			return err
		}
		if said := strings.Join(status.Warnings, "\n"); !strings.Contains(said, "HOST_GRACE") || !strings.Contains(said, gone.Name) || strings.TrimSpace(routes) != "" {
			return fmt.Errorf("%s: %q, route %q", h.Name, said, routes)
		}
		return nil
	}
	err := testnet.Until(t.Context(), 3*time.Minute, func() error {
		got, err := dig(t, asker, "@"+service, "pair")
		if err == nil && strings.Join(got, " ") != one.Addr.String() {
			err = fmt.Errorf("found %v", got)
		}
		return errors.Join(err, withdrawn(asker.Host), withdrawn(one.Host))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("figure: a dead host was marked lost after %.0f s, with a grace of 60 s", time.Since(began).Seconds())
	refused(t, one.Host, []string{gone.Name}, "run", "--name", "taker", "--network", mesh, "--ip", two.Addr.String(), testnet.Image)
	remove(t, one.Host, "taker")
	if err := s.SetPort(t.Context(), gone, true); err != nil {
		t.Fatal(err)
	}
	both := []string{one.Addr.String(), two.Addr.String()}
	slices.Sort(both)
	err = testnet.Until(t.Context(), time.Minute, func() error {
		got, err := dig(t, asker, "@"+service, "pair")
		if err == nil && !slices.Equal(got, both) {
			err = fmt.Errorf("found %v", got)
		}
		return errors.Join(err, pings(t, s, asker, two), pings(t, s, two, one), pings(t, s, one, two))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := withdrawn(asker.Host); err == nil {
		t.Error("it is back, and still marked lost")
	}
}
