package main

import (
	"testing"

	"github.com/meshsec/meshsec/store"
)

// A host is lost only when neither etcd nor its tunnel knows of it for the whole grace; who can't know leaves it as it was.
func TestAHostIsLostAfterItsGrace(t *testing.T) {
	gone := &store.Snapshot{Revision: 1, Hosts: map[string]store.Host{"b": {}}}
	alive := &store.Snapshot{Revision: 1, Hosts: gone.Hosts, Alive: map[string]bool{"b": true}}
	old := &store.Snapshot{FromDisk: true, Hosts: gone.Hosts}
	for what, c := range map[string]struct {
		snap                      *store.Snapshot
		reachable, silent, before bool
		want                      bool
	}{
		"no lease, silent":                     {gone, true, true, false, true},
		"no lease, and still silent":           {gone, true, true, true, true},
		"no lease, heard":                      {gone, true, false, false, false},
		"no lease, heard again":                {gone, true, false, true, false},
		"a lease, silent":                      {alive, true, true, false, false},
		"a lease again, silent":                {alive, true, true, true, false},
		"etcd away, silent":                    {gone, false, true, false, false},
		"etcd away, lost before":               {gone, false, true, true, true},
		"etcd away, the lease is an old story": {alive, false, true, true, true},
		"etcd away, heard again":               {gone, false, false, true, false},
		"etcd not reached since a start":       {old, true, true, false, false},
	} {
		if got := isLost(c.snap, "b", c.reachable, c.silent, c.before); got != c.want {
			t.Errorf("%s: lost %v", what, got)
		}
	}
}
