// Command names measures this project's DNS server against dnsmasq, in turn, each on one processor of its own with the same
// 50,000 names: answers per second of that processor's time, the time that an answer takes, and memory per name. It prints
// Markdown.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func main() {
	serve := flag.Int("serve", -1, "be the server, with so many names")
	count := flag.Int("names", 50000, "names")
	rounds := flag.Int("rounds", 5, "measurements of each, in turn")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *serve >= 0 {
		err = serveNames(ctx, *serve)
	} else {
		err = measure(ctx, *count, *rounds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// result is what was measured of one server.
type result struct {
	perCore []float64       // answers for each second of processor time
	took    []time.Duration // of single questions
	empty   int             // resident memory without names, bytes
	full    int             // with all
	// Of what is full: the names as facts and the directory; 0: not told.
	facts, directory uint64
}

func measure(ctx context.Context, count, rounds int) error {
	kinds := []struct {
		name  string
		start func(ctx context.Context, names int) (*server, error)
	}{{"meshsec", startOwn}, {"dnsmasq", startDnsmasq}}
	results := make([]result, len(kinds))
	for i, k := range kinds {
		s, err := k.start(ctx, 0)
		if err != nil {
			return err
		}
		results[i].empty = s.memory()
		s.end()
	}
	for range rounds {
		for i, k := range kinds {
			if err := results[i].round(ctx, k.start, count); err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
		}
	}
	fmt.Printf("| %d names | answers for a second of one processor, median of %d | p50 | p99 at 2,000 questions/s | memory | for each name | of it facts | … what DNS adds |\n|---|---|---|---|---|---|---|---|\n", count, rounds)
	for i, k := range kinds {
		r := results[i]
		slices.Sort(r.perCore)
		slices.Sort(r.took)
		parts := "– | –"
		if r.facts > 0 {
			parts = fmt.Sprintf("%d B | %d B", r.facts/uint64(count), r.directory/uint64(count))
		}
		fmt.Printf("| %s | %.0f | %d µs | %d µs | %.1f MiB | %d B | %s |\n", k.name, r.perCore[len(r.perCore)/2], r.took[len(r.took)/2].Microseconds(),
			r.took[len(r.took)*99/100].Microseconds(), float64(r.full)/(1<<20), (r.full-r.empty)/count, parts)
	}
	slices.Sort(results[1].perCore)
	fmt.Println("\nMemory is what is resident. Of meshsec's, facts are what the agent has whether it serves DNS or not; both parts are what is in use: the rest is garbage" +
		" between two collections, at most half of it.")
	fmt.Printf("\nmeshsec answers %.2f times as many as dnsmasq.\n", results[0].perCore[rounds/2]/results[1].perCore[rounds/2])
	return nil
}

// round starts a server, loads it, and ends it.
func (r *result) round(ctx context.Context, start func(context.Context, int) (*server, error), count int) error {
	s, err := start(ctx, count)
	if err != nil {
		return err
	}
	defer s.end()
	l, err := newLoad(s.addr, count)
	if err != nil {
		return err
	}
	defer l.close()
	if _, err := l.flood(time.Second / 2); err != nil { // warms up
		return err
	}
	before := s.processorTime()
	answers, err := l.flood(2 * time.Second)
	if err != nil {
		return err
	}
	r.perCore = append(r.perCore, float64(answers)/(s.processorTime()-before).Seconds())
	took, err := l.paced(2000, 2*time.Second)
	r.took = append(r.took, took...)
	r.full, r.facts, r.directory = s.memory(), s.facts, s.directory
	return err
}

// pinned runs a command on the machine's last processor; the load is made on the others.
func pinned(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "taskset", append([]string{"-c", lastProcessor(), name}, args...)...)
}
