package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// summary is what a series did.
type summary struct {
	schedules       int
	total, slowest  time.Duration // until all was well again
	slowestSeed     uint64
	faults, attacks map[string]int
	guests          int // containers that came and went
}

func (s *summary) add(sc Schedule, whole time.Duration) {
	s.schedules++
	s.total += whole
	if whole > s.slowest {
		s.slowest, s.slowestSeed = whole, sc.Seed
	}
	for _, f := range sc.Faults {
		s.faults[f.Kind]++
	}
}

// ended adds what happened on hosts that are about to be taken down.
func (s *summary) ended(r *rig) {
	for sort, n := range r.attacker.counts() {
		s.attacks[sort] += n
	}
	for _, n := range r.nodes {
		s.guests += int(n.guests.Load())
	}
}

func (s *summary) print(out io.Writer, took time.Duration) {
	fmt.Fprintf(out, "%d schedules in %s; whole again after %.1f s on average, %.1f s at most (seed %d)\n", s.schedules, took.Round(time.Second),
		s.total.Seconds()/float64(s.schedules), s.slowest.Seconds(), s.slowestSeed)
	fmt.Fprintf(out, "faults: %s\n", counted(s.faults))
	fmt.Fprintf(out, "containers that came and went: %d\n", s.guests)
	fmt.Fprintf(out, "injected frames: %s\n", counted(s.attacks))
}

func counted(m map[string]int) string {
	var words []string
	total := 0
	for _, k := range slices.Sorted(maps.Keys(m)) {
		words = append(words, fmt.Sprintf("%s %d", k, m[k]))
		total += m[k]
	}
	return fmt.Sprintf("%d (%s)", total, strings.Join(words, ", "))
}

// report prints a schedule that failed, with all that is needed to find out why, and how to repeat it.
func (r *rig) report(ctx context.Context, out io.Writer, s Schedule, err error) {
	fmt.Fprintf(out, "\nFAIL  seed %d\n%s%v\n", s.Seed, s, err)
	for _, n := range r.nodes {
		for _, view := range []string{"status", "peers"} {
			limit, cancel := context.WithTimeout(ctx, 5*time.Second)
			text, err := n.host.Meshsec(limit, view)
			cancel()
			if text == "" && err != nil {
				text = err.Error()
			}
			fmt.Fprintf(out, "--- %s %s\n%s\n", n.host.Name, view, text)
		}
	}
	also := ""
	if _, ok := r.nodes[0].engine.(dockerd); ok {
		also = " DOCKER=1"
	}
	if r.members > 1 {
		also += fmt.Sprint(" MEMBERS=", r.members)
	}
	fmt.Fprintf(out, "%s%s\nrepeat it: make chaos SEED=%d N=1 HOSTS=%d%s\n\n", r.logs(60), r.dockerLogs(60), s.Seed, len(r.nodes), also)
}

// logs are the agents' last lines since the schedule's begin; 0: all.
func (r *rig) logs(lines int) string {
	var b strings.Builder
	for _, n := range r.nodes {
		all := strings.Split(strings.TrimSpace(n.log()), "\n")
		if lines > 0 {
			all = all[max(0, len(all)-lines):]
		}
		fmt.Fprintf(&b, "--- %s log\n%s\n", n.host.Name, strings.Join(all, "\n"))
	}
	return b.String()
}
