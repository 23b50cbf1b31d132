package e2e

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// TestSwarm: a Swarm of three hosts, from the network's command to the last node that leaves.
func TestSwarm(t *testing.T) {
	s := swarm(t)
	for _, step := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"command", s.swarmCommand},
		{"services", s.swarmServices},
		{"scaling", s.swarmScaling},
		{"standalone containers", s.swarmStandalone},
		{"rolling update", s.swarmUpdate},
		{"drain and return", s.swarmDrain},
		{"dockerd of the leader killed", s.swarmLeader},
		{"cable out", s.swarmCable},
	} {
		if !t.Run(step.name, step.do) {
			t.FailNow()
		}
	}
}

// swarmCommand is `meshsec swarm network` on a manager and on workers, once, twice, and where it must refuse.
func (s *suite) swarmCommand(t *testing.T) {
	ctx := t.Context()
	h1, h2, h3 := s.Hosts[0], s.Hosts[1], s.Hosts[2]
	network := func(h *testnet.Host, words ...string) string {
		t.Helper()
		out, err := h.Meshsec(ctx, append([]string{"swarm", "network"}, words...)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	refuses := func(h *testnet.Host, word string, words ...string) {
		t.Helper()
		out, err := h.Meshsec(ctx, append([]string{"swarm", "network"}, words...)...)
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %q, %v; no word of %q", words, out, err, word)
		}
	}
	docker(t, h1, []string{"network", "create", "taken"})
	refuses(h1, "driver bridge", "taken")
	refuses(h1, "meshsec.wrong", "--opt", "meshsec.wrong=1", mesh)
	refuses(h1, "172.30.0.0/24", "--subnet", "172.30.0.0/16", mesh)

	made := network(h1, "--subnet", "10.42.0.0/16", mesh)
	for _, word := range []string{"mesh-config made on this node", "mesh made in the Swarm", "h2 (172.30.0.2, worker)", "h3 (172.30.0.3, worker)"} {
		if !strings.Contains(made, word) {
			t.Errorf("no %q in %s", word, made)
		}
	}
	again := network(h1, "--subnet", "10.42.0.0/16", mesh)
	if !strings.Contains(again, "mesh-config is there") || !strings.Contains(again, "mesh is there") {
		t.Error(again)
	}
	refuses(h1, "other options", "--subnet", "10.43.0.0/16", mesh)
	_, line, _ := strings.Cut(made, "type\n  docker ")
	line, _, _ = strings.Cut(line, "\n")
	docker(t, h2, strings.Fields(line)) // as it says
	if out := network(h2, "--subnet", "10.42.0.0/16", mesh); !strings.Contains(out, "mesh-config is there") || !strings.Contains(out, "no manager") {
		t.Error(out)
	}
	network(h3, "--subnet", "10.42.0.0/16", mesh)
}

// swarmServices: tasks on all hosts reach each other, and have their names in Docker's DNS and in ours.
func (s *suite) swarmServices(t *testing.T) {
	h1 := s.Hosts[0]
	createService(t, h1, "web", 6, "--endpoint-mode", "dnsrr")
	createService(t, h1, "virtual", 2)
	createService(t, h1, "edge", 1, "--endpoint-mode", "dnsrr", "--mode", "replicated", "--publish", "mode=host,target=9000,published=8090")
	list, virtual := s.runs(t, h1, "web", 6), s.runs(t, h1, "virtual", 2)
	s.allReach(t, list)
	for _, e := range list {
		c := s.container(t, e)
		resolves(t, c, "127.0.0.11", "web", list)
		resolves(t, c, "127.0.0.11", "tasks.web", list)
		resolves(t, c, "127.0.0.11", "tasks.virtual", virtual)
		resolves(t, c, "169.254.169.250", "tasks.web", list)
		resolves(t, c, "169.254.169.250", "tasks.virtual", virtual)
	}
	edge := s.container(t, s.runs(t, h1, "edge", 1)[0])
	out, err := s.Outside.Run(t.Context(), s.Dir()+"/probe", "transfer", "-port", "8090", "-size", "100000", edge.Host.Addr.String())
	if err != nil || !strings.Contains(out, `"up":true,"down":true`) {
		t.Errorf("the port published by the task's host: %s, %v", out, err)
	}
	docker(t, h1, []string{"service", "rm", "edge"})
	for _, h := range s.Hosts { // the command again, with the network in use
		if out, err := h.Meshsec(t.Context(), "swarm", "network", "--subnet", "10.42.0.0/16", mesh); err != nil || !strings.Contains(out, "mesh-config is there") {
			t.Errorf("%s: %s, %v", h.Name, out, err)
		}
	}
}

// scale tells the Swarm how many tasks a service has.
func scale(t *testing.T, manager *testnet.Host, service string, n int) {
	t.Helper()
	docker(t, manager, []string{"service", "scale", "-d", fmt.Sprintf("%s=%d", service, n)})
}

// swarmScaling: from none to thirty tasks (MESHSEC_E2E_TASKS: as many) and back, and nothing is left: no endpoint, lease, claim, veth
// or route.
func (s *suite) swarmScaling(t *testing.T) {
	h1, many := s.Hosts[0], 30
	if n, err := strconv.Atoi(os.Getenv("MESHSEC_E2E_TASKS")); err == nil {
		many = n
	}
	scale(t, h1, "web", 0)
	s.runs(t, h1, "web", 0)
	before := footprint(t, s)
	began := time.Now()
	scale(t, h1, "web", many)
	list := s.runs(t, h1, "web", many)
	up := time.Since(began)
	s.allReach(t, list)
	began = time.Now()
	scale(t, h1, "web", 0)
	s.runs(t, h1, "web", 0)
	t.Logf("figure: %d tasks on three hosts run after %.1f s, and have gone after %.1f s", many, up.Seconds(), time.Since(began).Seconds())
	leftNothing(t, s, before)
}

// swarmStandalone: containers that are no tasks, on a manager and on a worker, beside the service's.
func (s *suite) swarmStandalone(t *testing.T) {
	h1, h2 := s.Hosts[0], s.Hosts[1]
	scale(t, h1, "web", 6)
	one, two := start(t, h1, mesh, "one"), start(t, h2, mesh, "two")
	list := s.runs(t, h1, "web", 6)
	s.reach(t, one, two.Addr)
	for _, e := range list[:3] {
		s.reach(t, two, e.Addr)
		s.reach(t, s.container(t, e), one.Addr)
	}
	resolves(t, two, "127.0.0.11", "tasks.web", list)
}

// swarmUpdate: all tasks are replaced, two at a time.
func (s *suite) swarmUpdate(t *testing.T) {
	h1 := s.Hosts[0]
	old := map[string]bool{}
	for _, e := range s.runs(t, h1, "web", 6) {
		old[e.ID] = true
	}
	docker(t, h1, []string{"service", "update", "-d", "--force", "--update-parallelism", "2", "--update-delay", "0s", "--update-monitor", "1s", "web"})
	soon(t, "the last old task to go", func() error {
		list, err := tasks(t, h1, "web")
		if at := slices.IndexFunc(list, func(e control.Endpoint) bool { return old[e.ID] }); err == nil && at >= 0 {
			err = fmt.Errorf("%s is there", list[at].Name)
		}
		return err
	})
	s.allReach(t, s.runs(t, h1, "web", 6))
}

// swarmDrain: a drained node has no task and no endpoint, and gets some again.
func (s *suite) swarmDrain(t *testing.T) {
	h1, h2 := s.Hosts[0], s.Hosts[1]
	on := func(list []control.Endpoint) (n int) {
		for _, e := range list {
			if e.Host == h2.Name {
				n++
			}
		}
		return n
	}
	docker(t, h1, []string{"node", "update", "--availability", "drain", h2.Name})
	soon(t, "the drained node's tasks to go", func() error {
		list, err := tasks(t, h1, "web")
		if n := on(list); err == nil && n > 0 {
			err = fmt.Errorf("%d are there", n)
		}
		return err
	})
	s.allReach(t, s.runs(t, h1, "web", 6))
	docker(t, h1, []string{"node", "update", "--availability", "active", h2.Name})
	scale(t, h1, "web", 9)
	list := s.runs(t, h1, "web", 9)
	if on(list) == 0 {
		t.Error("the node that returned has no task")
	}
	s.allReach(t, list)
}

// swarmLeader: the leader's dockerd is killed; another manager leads, and the tasks run elsewhere. It returns, and has tasks.
func (s *suite) swarmLeader(t *testing.T) {
	ctx := t.Context()
	h1, h2, h3 := s.Hosts[0], s.Hosts[1], s.Hosts[2]
	docker(t, h1, []string{"node", "promote", h2.Name, h3.Name})
	soon(t, "three managers", func() error {
		out, err := h1.Docker(ctx, "node", "ls", "--format", "{{.ManagerStatus}}")
		if err == nil && strings.Count(out, "Reachable") != 2 {
			err = errors.New(out)
		}
		return err
	})
	if err := h1.StopDockerd(ctx, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	soon(t, "another leader", func() error {
		_, err := h2.Docker(ctx, "service", "scale", "-d", "web=8")
		return err
	})
	s.allReach(t, s.runs(t, h2, "web", 8, h2, h3))
	if err := h1.StartDockerd(ctx); err != nil {
		t.Fatal(err)
	}
	soon(t, "the return of the node", func() error {
		out, err := h1.Docker(ctx, "node", "ls", "--filter", "name="+h1.Name, "--format", "{{.Status}} {{.ManagerStatus}}")
		if err == nil && !strings.Contains(out, "Ready Reachable") {
			err = errors.New(out)
		}
		return err
	})
	scale(t, h2, "web", 14)
	list := s.runs(t, h2, "web", 14)
	if !slices.ContainsFunc(list, func(e control.Endpoint) bool { return e.Host == h1.Name }) {
		t.Error("the node that returned has no task")
	}
	s.allReach(t, list)
}

// swarmCable: a host without underlay is replaced by the others, and ends its tasks when it is back. Then it leaves the Swarm,
// and its containers are in the services' network all the same.
func (s *suite) swarmCable(t *testing.T) {
	ctx := t.Context()
	h1, h2, h3 := s.Hosts[0], s.Hosts[1], s.Hosts[2]
	if err := s.SetPort(ctx, h3, false); err != nil {
		t.Fatal(err)
	}
	s.allReach(t, s.runs(t, h2, "web", 14, h1, h2))
	if err := s.SetPort(ctx, h3, true); err != nil {
		t.Fatal(err)
	}
	list := s.runs(t, h2, "web", 14)
	s.allReach(t, list)

	docker(t, h2, []string{"node", "demote", h3.Name})
	docker(t, h3, []string{"swarm", "leave", "--force"})
	soon(t, "a network of the host's own", func() error { return createMesh(ctx, h3, "--subnet", "10.42.0.0/16") })
	list = s.runs(t, h2, "web", 14)
	alone := start(t, h3, mesh, "alone")
	for _, e := range list[:4] {
		s.reach(t, alone, e.Addr)
	}
	remove(t, h3, "alone")
	scale(t, h2, "web", 0)
	scale(t, h2, "virtual", 0)
	s.runs(t, h2, "web", 0)
	s.runs(t, h2, "virtual", 0)
}
