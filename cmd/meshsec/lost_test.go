package main

import (
	"testing"
	"time"

	"github.com/meshsec/meshsec/store"
)

// A host is lost only when neither etcd nor its tunnel knows of it for the whole grace.
func TestAHostIsLostAfterItsGrace(t *testing.T) {
	now := time.Now()
	gone := &store.Snapshot{Revision: 1, Hosts: map[string]store.Host{"b": {}}}
	alive := &store.Snapshot{Revision: 1, Hosts: gone.Hosts, Alive: map[string]bool{"b": true}}
	old := &store.Snapshot{FromDisk: true, Hosts: gone.Hosts}
	for what, c := range map[string]struct {
		snap   *store.Snapshot
		silent time.Duration
		want   bool
	}{
		"no lease, silent for long":      {gone, time.Hour + 1, true},
		"no lease, heard a moment ago":   {gone, time.Second, false},
		"no lease, silent until just so": {gone, time.Hour, false},
		"a lease, silent for long":       {alive, 48 * time.Hour, false},
		"etcd not reached since a start": {old, 48 * time.Hour, false},
		"a clock that went back":         {gone, -time.Hour, false},
	} {
		if got := isLost(c.snap, "b", now.Add(-c.silent), now, time.Hour); got != c.want {
			t.Errorf("%s: lost %v", what, got)
		}
	}
}
