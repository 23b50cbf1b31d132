package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/meshsec/meshsec/control"
)

// claims are the single addresses that hosts have claimed, as the first host sees them: whose each is.
func (s *suite) claims(t *testing.T) map[string]string {
	t.Helper()
	var all []control.Block
	if err := s.Hosts[0].MeshsecJSON(t.Context(), &all, "blocks"); err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	for _, b := range all {
		if b.Prefix.IsSingleIP() {
			list[b.Prefix.Addr().String()] = b.Host
		} else {
			t.Errorf("host %s has a block: %v", b.Host, b.Prefix)
		}
	}
	return list
}

// TestSwarmScopeGlobal: the Swarm's leader chooses all addresses; each is claimed once, by the host that has the task, and a new
// leader knows them. When the network is removed nothing is left, though Docker does not give everything back.
func TestSwarmScopeGlobal(t *testing.T) {
	s := swarm(t, "SCOPE=global")
	h1, h2, h3 := s.Hosts[0], s.Hosts[1], s.Hosts[2]
	docker(t, h1, []string{"network", "create", "-d", "meshsec/plugin:latest", "--ipam-driver", "meshsec/plugin:latest", "--subnet", "10.42.0.0/16", "--attachable", mesh})
	createService(t, h1, "web", 6, "--endpoint-mode", "dnsrr")
	createService(t, h1, "virtual", 1)
	list, virtual := s.runs(t, h1, "web", 6), s.runs(t, h1, "virtual", 1)
	s.allReach(t, list)
	claims := s.claims(t)
	for _, e := range slices.Concat(list, virtual) {
		if claims[e.Addr.String()] != e.Host {
			t.Errorf("%v of host %s is claimed by %q", e.Addr, e.Host, claims[e.Addr.String()])
		}
	}
	if len(claims) != 7 {
		t.Errorf("claims: %v", claims)
	}
	asker := s.container(t, list[0])
	resolves(t, asker, "127.0.0.11", "web", list)
	resolves(t, asker, "127.0.0.11", "tasks.virtual", virtual)
	alone := start(t, h2, mesh, "alone")
	s.reach(t, alone, list[0].Addr)

	docker(t, h1, []string{"node", "promote", h2.Name, h3.Name})
	soon(t, "another leader", func() error {
		_, err := h2.Docker(t.Context(), "node", "demote", h1.Name)
		return err
	})
	soon(t, "a leader that answers", func() error {
		_, err := h2.Docker(t.Context(), "service", "scale", "-d", "web=10")
		return err
	})
	list = s.runs(t, h2, "web", 10)
	s.allReach(t, append(list, virtual...))
	s.reach(t, alone, list[9].Addr)

	remove(t, h2, "alone")
	docker(t, h2, []string{"service", "rm", "web", "virtual"})
	soon(t, "the end of the network", func() error {
		_, err := h2.Docker(t.Context(), "network", "rm", mesh)
		return err
	})
	soon(t, "the end of what nodes had", func() error {
		if left := s.claims(t); len(left) > 0 {
			return fmt.Errorf("claims: %v", left)
		}
		for _, h := range s.Hosts {
			if lines, err := checkpointEntries(t, h); err != nil || len(lines) > 0 {
				return fmt.Errorf("%s: %q, %v", h.Name, lines, err)
			}
		}
		return nil
	})
}
