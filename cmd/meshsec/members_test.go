package main

import (
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/control"
)

// TestStatusSaysWhatOfEtcdMayBeLost: in one line, and as a warning once something is.
func TestStatusSaysWhatOfEtcdMayBeLost(t *testing.T) {
	now := time.Unix(1e9, 0)
	a, b, c := control.Member{Host: "a"}, control.Member{Host: "b"}, control.Member{Host: "c"}
	down, learner, removed := c, c, c
	down.Down, learner.Learner, removed.Removed = now.Add(-time.Minute), true, true
	for _, e := range []struct {
		etcd control.Etcd
		line string
		warn string // empty: none
	}{
		{control.Etcd{Members: []control.Member{a}}, "a: 0 of 1 may be lost", ""},
		{control.Etcd{Members: []control.Member{a}, Reserves: 2}, "a: 0 of 1 may be lost; 2 more could be members", ""},
		{control.Etcd{Members: []control.Member{a, b, c}, Spare: 1}, "a, b, c: 1 of 3 may be lost", ""},
		{control.Etcd{Members: []control.Member{a, b, learner}}, "a, b, c (catching up): 0 of 2 may be lost", ""},
		{control.Etcd{Members: []control.Member{a, b, removed}}, "a, b, c (removed): 0 of 3 may be lost", ""},
		{control.Etcd{Members: []control.Member{a, b, down}}, "a, b, c (down): 0 of 3 may be lost", "host c has been down for 1m0s; were one more lost, new networks, --ip and new hosts would have to wait; there is no other host for it"},
		{control.Etcd{Members: []control.Member{a, b, down}, Spare: -1}, "a, b, c (down): 0 of 3 may be lost", "down for 1m0s"},
	} {
		if got := members(e.etcd); got != e.line {
			t.Errorf("%q, want %q", got, e.line)
		}
		got := strings.Join(memberWarnings(e.etcd, now), "\n")
		if (got == "") != (e.warn == "") || !strings.Contains(got, e.warn) {
			t.Errorf("%s: warning %q, want %q", e.line, got, e.warn)
		}
	}
}
