package main

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/internal/testnet"
)

func TestEqualSeedsGiveEqualSchedules(t *testing.T) {
	for seed := range uint64(100) {
		a, b := newSchedule(seed, 3, machine{}), newSchedule(seed, 3, machine{})
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("seed %d:\n%s\n%s", seed, a, b)
		}
	}
	if reflect.DeepEqual(newSchedule(1, 3, machine{}).Faults, newSchedule(2, 3, machine{}).Faults) {
		t.Error("two seeds give one schedule")
	}
}

func TestSchedulesKeepTheirBounds(t *testing.T) {
	seen, overlaps := map[string]bool{}, false
	for seed := range uint64(2000) {
		s := newSchedule(seed, 3, machine{kernel: seed%2 == 0, lab: seed%4 == 0, docker: seed%4 == 0, members: seed%8 == 0})
		if len(s.Faults) < minFaults || len(s.Faults) > maxFaults {
			t.Fatalf("seed %d: %d faults", seed, len(s.Faults))
		}
		for i, f := range s.Faults {
			k := kinds[f.Kind]
			if k.choose != nil {
				seen[f.Kind+f.What] = true
			}
			seen[f.Kind] = true
			if f.At < 0 || f.At > lastBegin || f.For <= 0 || f.For > longest*max(1, k.long) || f.Host < 0 || f.Host > 2 || f.Peer == f.Host || f.Peer < 0 || f.Peer > 2 {
				t.Errorf("seed %d: %+v", seed, f)
			}
			if k.kernel && seed%2 != 0 {
				t.Errorf("seed %d: %s without the kernel's plane", seed, f)
			}
			if (k.lab || k.docker) && seed%4 != 0 {
				t.Errorf("seed %d: %s, which there can't be", seed, f)
			}
			if k.members && seed%8 != 0 {
				t.Errorf("seed %d: %s with one member", seed, f)
			}
			if f.Kind == "move" && f.Host == 0 && seed%8 != 0 {
				t.Errorf("seed %d: the founder moves", seed)
			}
			for _, other := range s.Faults[:i] {
				if f.clashes(other) {
					t.Errorf("seed %d: %s, and %s", seed, other, f)
				}
				overlaps = overlaps || other.At+other.For > f.At
			}
		}
	}
	want := 0
	for _, k := range kinds {
		want += 1 + len(k.choose)
	}
	if len(seen) != want {
		t.Errorf("%d of %d faults are drawn: %v", len(seen), want, seen)
	}
	if !overlaps {
		t.Error("no two faults are on at once")
	}
}

func TestStepsAreInOrder(t *testing.T) {
	for seed := range uint64(100) {
		s := newSchedule(seed, 3, machine{})
		steps := s.steps()
		if len(steps) != 2*len(s.Faults) || !slices.IsSortedFunc(steps, func(a, b step) int { return int(a.at - b.at) }) {
			t.Fatalf("seed %d: %v", seed, steps)
		}
	}
}

func TestClashes(t *testing.T) {
	at := func(kind string, host, peer int, what string, from, length time.Duration) Fault {
		return Fault{Kind: kind, Host: host, Peer: peer, What: what, At: from, For: length}
	}
	kill := at("kill", 1, 0, "", 100, 100)
	for _, c := range []struct {
		other Fault
		want  bool
	}{
		{at("pause", 1, 0, "", 150, 10), true},
		{at("pause", 1, 0, "", 200, 10), true},
		{at("pause", 1, 0, "", 201, 10), false},
		{at("restart", 2, 0, "", 150, 10), false},
		{at("cable", 1, 0, "", 150, 10), false},
	} {
		if got := kill.clashes(c.other); got != c.want || c.other.clashes(kill) != got {
			t.Errorf("%s, and %s: %v", kill, c.other, got)
		}
	}
	cut := at("partition", 0, 1, oneWay, 0, 100)
	if cut.clashes(at("partition", 1, 0, oneWay, 0, 100)) || !cut.clashes(at("partition", 1, 0, bothWays, 0, 100)) {
		t.Error("the two directions are two things")
	}
}

func TestFaultsAreToldInPlainWords(t *testing.T) {
	for _, k := range slices.Sorted(func(yield func(string) bool) {
		for n := range kinds {
			if !yield(n) {
				return
			}
		}
	}) {
		f := Fault{Kind: k, Host: 1, Peer: 2, At: 250 * time.Millisecond, For: time.Second, What: "addresses flushed"}
		if s := f.String(); !strings.HasPrefix(s, "at 0.25 s for 1.00 s: ") || strings.Contains(s, "%!") {
			t.Error(s)
		}
	}
}

// TestGroups: a split leaves out nobody, and nobody is on both sides; from one host alone to thirds.
func TestGroups(t *testing.T) {
	sizes := map[string]bool{}
	for seed := range uint64(500) {
		hosts := 2 + int(seed%24)
		r := &rig{}
		for i := range hosts {
			r.nodes = append(r.nodes, &node{host: &testnet.Host{Name: name(i)}})
		}
		groups := r.groups(Fault{What: drawGroups(rand.New(rand.NewPCG(seed, 0)), hosts)})
		seen := map[*testnet.Host]bool{}
		for _, g := range groups {
			if len(g) == 0 {
				t.Fatalf("seed %d: nobody in a group of %v", seed, groups)
			}
			for _, h := range g {
				if seen[h] {
					t.Fatalf("seed %d: %s is there twice", seed, h.Name)
				}
				seen[h] = true
			}
		}
		if len(seen) != hosts {
			t.Fatalf("seed %d: %d of %d hosts", seed, len(seen), hosts)
		}
		sizes[fmt.Sprint(len(groups), slices.ContainsFunc(groups, func(g []*testnet.Host) bool { return len(g) == 1 }))] = true
	}
	if len(sizes) != 4 {
		t.Errorf("groups of only these kinds: %v", sizes)
	}
}
