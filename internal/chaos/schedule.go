package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Schedule is faults in the order of their begin. Equal seeds give equal schedules on equal hosts.
type Schedule struct {
	Seed   uint64
	Faults []Fault
}

// Fault is one thing that breaks and, after For, is lifted. Times count from the schedule's begin.
type Fault struct {
	Kind    string
	At, For time.Duration
	Host    int // from 0; 0 is the founder, which has the etcd, or its first member
	Peer    int // the other host, where there is one
	What    string
}

// Bounds of what is drawn; there is one fault more for every five hosts.
const (
	minFaults, maxFaults = 3, 6
	lastBegin            = 1200 * time.Millisecond
	longest              = 900 * time.Millisecond
)

// newSchedule draws a schedule. Faults overlap, but not two of which one would undo the other: see kind.takes.
func newSchedule(seed uint64, hosts int, m machine) Schedule {
	rng := rand.New(rand.NewPCG(seed, 0x6d657368736563))
	s := Schedule{Seed: seed}
	names := kindNames(m)
	for want := minFaults + rng.IntN(maxFaults-minFaults+1) + hosts/5; len(s.Faults) < want; {
		f := Fault{Kind: names[rng.IntN(len(names))], At: draw(rng, 0, lastBegin), For: draw(rng, 20*time.Millisecond, longest), Host: rng.IntN(hosts)}
		f.For *= max(1, kinds[f.Kind].long)
		f.Peer = (f.Host + 1 + rng.IntN(hosts-1)) % hosts
		k := kinds[f.Kind]
		switch {
		case k.choose != nil:
			f.What = k.choose[rng.IntN(len(k.choose))]
		case k.draw != nil:
			f.What = k.draw(rng, hosts)
		}
		if k.spares != nil && !m.members && k.spares(f) || slices.ContainsFunc(s.Faults, f.clashes) {
			continue
		}
		s.Faults = append(s.Faults, f)
	}
	slices.SortStableFunc(s.Faults, func(a, b Fault) int { return int(a.At - b.At) })
	return s
}

// draw gives a duration in steps of ten milliseconds.
func draw(rng *rand.Rand, from, to time.Duration) time.Duration {
	const step = 10 * time.Millisecond
	return from + time.Duration(rng.Int64N(int64((to-from)/step)+1))*step
}

// clashes says that the faults take the same thing at the same time.
func (f Fault) clashes(other Fault) bool {
	if f.At > other.At+other.For || other.At > f.At+f.For {
		return false
	}
	mine := kinds[f.Kind].takes(f)
	return slices.ContainsFunc(kinds[other.Kind].takes(other), func(what string) bool { return slices.Contains(mine, what) })
}

func (f Fault) String() string {
	return fmt.Sprintf("at %.2f s for %.2f s: %s", f.At.Seconds(), f.For.Seconds(), kinds[f.Kind].words(f))
}

func (s Schedule) String() string {
	var b strings.Builder
	for _, f := range s.Faults {
		fmt.Fprintf(&b, "  %s\n", f)
	}
	return b.String()
}

// step is the begin or the end of a fault.
type step struct {
	at    time.Duration
	fault Fault
	end   bool
}

// steps are the schedule's, in their order.
func (s Schedule) steps() []step {
	var all []step
	for _, f := range s.Faults {
		all = append(all, step{f.At, f, false}, step{f.At + f.For, f, true})
	}
	slices.SortStableFunc(all, func(a, b step) int { return int(a.at - b.at) })
	return all
}

// name is what a host is called.
func name(host int) string { return fmt.Sprintf("h%d", host+1) }
