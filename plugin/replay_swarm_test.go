package plugin

import (
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker/go-plugins-helpers/network"

	"github.com/meshsec/meshsec/store"
)

// TestCase30NodesOfASwarm plays what the manager and the worker of a Swarm said to their plugins at the same time, to two hosts
// of one environment: no address is on both, and nothing is left on either.
func TestCase30NodesOfASwarm(t *testing.T) {
	c := startCluster(t)
	for _, engine := range []string{"20", "29"} {
		for _, as := range []string{"local", "global", "global with SCOPE=global"} {
			scope, setting, set := strings.Cut(as, " ")
			t.Run(engine+"-"+as, func(t *testing.T) {
				type call struct {
					step
					node int
				}
				var calls []call
				var nodes []*rig
				var models []*model
				for i, node := range []string{"sa", "sb"} {
					path := filepath.Join("testdata", "traces", fmt.Sprintf("%s-swarm-%s-%s%s.jsonl", engine, scope, node, engine))
					for _, s := range steps(t, path) {
						if s.Method != "" {
							calls = append(calls, call{s, i})
						}
					}
					on := c
					if i == 1 {
						on = c.second(t)
					}
					m := newModel()
					if set {
						on.scope, m.global = network.GlobalScope, true
					}
					if set && i == 1 { // what the manager's plugin chose comes to the worker's
						m.addrs, m.prefixes, m.chosen = models[0].addrs, models[0].prefixes, models[0].chosen
					}
					nodes, models = append(nodes, on.host(t, "swarm-"+engine+"-"+scope+strings.TrimPrefix(setting, "with SCOPE="))), append(models, m)
				}
				slices.SortStableFunc(calls, func(a, b call) int { return cmp.Compare(a.Time, b.Time) })
				for _, s := range calls {
					if err := models[s.node].play(t, nodes[s.node], s.step, manner{again: set}); err != nil {
						t.Fatalf("node %d, line %d: %v", s.node, s.line, err)
					}
					for k := range held(nodes[0]) {
						if held(nodes[1])[k] {
							t.Fatalf("node %d, line %d: both have %v", s.node, s.line, k)
						}
					}
				}
				for i, r := range nodes {
					r.until(t, fmt.Sprint("node ", i, " after the trace"), func() string { return models[i].left(r) })
					if l := r.cp.Local(); len(l.Managed)+len(l.Allotted) > 0 {
						t.Errorf("node %d still manages %v, %v", i, l.Managed, l.Allotted)
					}
				}
			})
		}
	}
}

// held are the addresses that a host has given to containers.
func held(r *rig) map[netip.Addr]bool {
	addrs := map[netip.Addr]bool{}
	for k, lease := range r.cp.Local().Leases {
		if lease.Kind == store.LeaseEndpoint && lease.Freed.IsZero() {
			addrs[k.Addr] = true
		}
	}
	return addrs
}
