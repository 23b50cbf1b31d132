package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// taskImage is the test image by a name whose registry refuses at once: a node tries to pull even what it has, one task after the
// other, and a name without a registry would be looked up for seconds.
const taskImage = "127.0.0.1:9/" + testnet.Image

// settling is what a Swarm takes at most to bring about what it was told, or to notice that a node has gone.
const settling = 2 * time.Minute

// swarm gives the test three hosts with the plugin in one Swarm: h1 is its manager, h2 and h3 are workers.
func swarm(t *testing.T, settings ...string) *suite {
	t.Helper()
	s := special(t, testnet.Options{Hosts: 3, Docker: true, Swarm: true})
	ctx := t.Context()
	if err := s.Hosts[0].InstallPlugin(ctx, append(planeSettings(s.Hosts[0]), settings...)...); err != nil {
		t.Fatal(err)
	}
	first := s.Hosts[0]
	// A node is given up after three missed heartbeats; of 5 s as they are by default the test would do nothing but wait.
	docker(t, first, []string{"swarm", "init", "--dispatcher-heartbeat", "2s", "--advertise-addr", first.Addr.String()})
	token, err := first.Docker(ctx, "swarm", "join-token", "-q", "worker")
	if err != nil {
		t.Fatal(err)
	}
	var group errgroup.Group
	for _, h := range s.Hosts[1:] {
		group.Go(func() error {
			if err := s.join(ctx, h, settings...); err != nil {
				return err
			}
			_, err := h.Docker(ctx, "swarm", "join", "--advertise-addr", h.Addr.String(), "--token", token, first.Addr.String()+":2377")
			if err == nil || !strings.Contains(err.Error(), "continue in the background") { // as it does after 20 s
				return err
			}
			return testnet.Until(ctx, settling, func() error {
				if state, err := h.Docker(ctx, "info", "--format", "{{.Swarm.LocalNodeState}}"); err != nil || state != "active" {
					return fmt.Errorf("%s is %q in the Swarm, %v", h.Name, state, err)
				}
				return nil
			})
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, h := range s.Hosts {
		docker(t, h, []string{"tag", testnet.Image, taskImage})
	}
	return s
}

// createService creates a service of the test image on the network mesh.
func createService(t *testing.T, h *testnet.Host, name string, replicas int, flags ...string) {
	t.Helper()
	words := append([]string{"service", "create", "-d", "--no-resolve-image", "--name", name, "--replicas", fmt.Sprint(replicas),
		"--network", mesh, "--stop-signal", "KILL", "--restart-delay", "1s"}, flags...)
	docker(t, h, append(words, taskImage))
}

// soon fails the test when the condition does not come true while a Swarm settles.
func soon(t *testing.T, what string, condition func() error) {
	t.Helper()
	if err := testnet.Until(t.Context(), settling, condition); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// tasks are those of a service, as a host knows their endpoints.
func tasks(t *testing.T, h *testnet.Host, service string) (list []control.Endpoint, err error) {
	t.Helper()
	var all []control.Endpoint
	if err := h.MeshsecJSON(t.Context(), &all, "endpoints"); err != nil {
		return nil, err
	}
	for _, e := range all {
		if e.Service == service {
			list = append(list, e)
		}
	}
	return list, nil
}

// runs waits until Docker, asked on the manager, has n running tasks of the service, and until each of the hosts (none given:
// all) knows n endpoints of it on them.
func (s *suite) runs(t *testing.T, manager *testnet.Host, service string, n int, hosts ...*testnet.Host) (list []control.Endpoint) {
	t.Helper()
	if len(hosts) == 0 {
		hosts = s.Hosts
	}
	soon(t, fmt.Sprintf("%d tasks of %s", n, service), func() (err error) {
		out, err := manager.Docker(t.Context(), "service", "ps", service, "--filter", "desired-state=running", "--format", "{{.CurrentState}}")
		if err != nil {
			return err
		}
		states := strings.Split(strings.TrimSpace(out), "\n")
		if out == "" {
			states = nil
		}
		if len(states) != n || slices.ContainsFunc(states, func(state string) bool { return !strings.HasPrefix(state, "Running") }) {
			return fmt.Errorf("Docker has %d tasks: %q", len(states), states)
		}
		for _, h := range hosts {
			if list, err = tasks(t, h, service); err != nil {
				return err
			}
			list = slices.DeleteFunc(list, func(e control.Endpoint) bool {
				return !slices.ContainsFunc(hosts, func(h *testnet.Host) bool { return h.Name == e.Host })
			})
			if len(list) != n {
				return fmt.Errorf("%s knows %d endpoints", h.Name, len(list))
			}
		}
		return nil
	})
	return list
}

// container is the container of a task.
func (s *suite) container(t *testing.T, e control.Endpoint) *testnet.Container {
	t.Helper()
	at := slices.IndexFunc(s.Hosts, func(h *testnet.Host) bool { return h.Name == e.Host })
	if at < 0 {
		t.Fatalf("%+v is on no host", e)
	}
	c, err := s.Hosts[at].Container(t.Context(), mesh, e.Container)
	if err != nil {
		t.Fatal(err)
	}
	if c.Addr != e.Addr {
		t.Errorf("task %s has %v, its fact says %v", e.Name, c.Addr, e.Addr)
	}
	return c
}

// allReach has one task of each host reach one of each, and every address of the list be another.
func (s *suite) allReach(t *testing.T, list []control.Endpoint) {
	t.Helper()
	one, addrs := map[string]*testnet.Container{}, map[netip.Addr]string{}
	for _, e := range list {
		if other, twice := addrs[e.Addr]; twice {
			t.Errorf("%s and %s both have %v", e.Name, other, e.Addr)
		}
		addrs[e.Addr] = e.Name
		if one[e.Host] == nil {
			one[e.Host] = s.container(t, e)
		}
	}
	for _, from := range one {
		for _, to := range one {
			if from != to {
				s.reach(t, from, to.Addr)
			}
		}
	}
}

// resolves waits until a name stands for the service's tasks, by a resolver.
func resolves(t *testing.T, c *testnet.Container, resolver, name string, list []control.Endpoint) {
	t.Helper()
	var want []string
	for _, e := range list {
		want = append(want, e.Addr.String())
	}
	slices.Sort(want)
	soon(t, fmt.Sprintf("%s finds %s by %s", c.Name, name, resolver), func() error {
		out, err := c.Exec(t.Context(), "nslookup", "-type=a", name, resolver)
		if err != nil {
			return err
		}
		_, answer, _ := strings.Cut(out, "Name:")
		var got []string
		for line := range strings.SplitSeq(answer, "\n") {
			if addr, ok := strings.CutPrefix(line, "Address: "); ok {
				got = append(got, strings.Fields(addr)[0])
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			return fmt.Errorf("%v, not %v: %s", got, want, out)
		}
		return nil
	})
}
