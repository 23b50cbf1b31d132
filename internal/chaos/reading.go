package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/meshsec/meshsec/internal/testnet"
)

// reading is what an agent and its host's kernel hold at a moment.
type reading struct {
	resident, heap    float64 // MiB: of the process, and in use by Go
	goroutines, files int
	links, routes     int // in both namespaces
	neighbours, rules int // likewise; rules are lines of nftables
	security          int // SAs and policies of the kernel's
}

const readingHead = "when    host  resident   heap goroutines files links routes neighbours rules security"

func (s reading) String() string {
	return fmt.Sprintf("%5.1f MiB %5.1f %10d %5d %5d %6d %10d %5d %8d", s.resident, s.heap, s.goroutines, s.files, s.links, s.routes, s.neighbours, s.rules, s.security)
}

func (n *node) reading(ctx context.Context) (s reading, err error) {
	const script = `
		wget -qO- http://127.0.0.1:9450/metrics | awk '/^(go_goroutines|process_open_fds|process_resident_memory_bytes|go_memstats_heap_inuse_bytes) / {print}'
		both() { "$@"; nsenter --net=/run/meshsec/router "$@"; }
		echo links $(both ip -o link show | wc -l)
		echo routes $(both ip route show table all | wc -l)
		echo neighbours $(both ip neigh show nud permanent | wc -l)
		echo rules $(both nft list ruleset | wc -l)
		echo security $( (ip xfrm state; ip xfrm policy) | grep -c '^src')`
	text, err := n.host.Run(ctx, "sh", "-c", script)
	if err != nil {
		return s, err
	}
	number := map[string]float64{}
	for line := range strings.Lines(text) {
		var name string
		var value float64
		if _, err := fmt.Sscan(line, &name, &value); err != nil {
			return s, fmt.Errorf("%q: %w", line, err)
		}
		number[name] = value
	}
	if number["go_goroutines"] == 0 || number["links"] == 0 {
		return s, fmt.Errorf("numbers are missing in %q", text)
	}
	const mib = 1 << 20
	return reading{
		resident: number["process_resident_memory_bytes"] / mib, heap: number["go_memstats_heap_inuse_bytes"] / mib,
		goroutines: int(number["go_goroutines"]), files: int(number["process_open_fds"]),
		links: int(number["links"]), routes: int(number["routes"]), neighbours: int(number["neighbours"]), rules: int(number["rules"]), security: int(number["security"]),
	}, nil
}

// What comes and goes by itself: connections and watches of etcd, and idle ones.
const (
	moreGoroutines = 10
	moreFiles      = 4
)

// exceeds says what there is more of, at rest, than there was before.
func (s reading) exceeds(before reading) (list []string) {
	for _, c := range []struct {
		what             string
		now, then, allow int
	}{
		{"goroutines", s.goroutines, before.goroutines, moreGoroutines},
		{"open files", s.files, before.files, moreFiles},
		{"links", s.links, before.links, 0},
		{"routes", s.routes, before.routes, 0},
		{"neighbours", s.neighbours, before.neighbours, 0},
		{"nftables' lines", s.rules, before.rules, 0},
		{"SAs and policies", s.security, before.security, 0},
	} {
		if c.now > c.then+c.allow {
			list = append(list, fmt.Sprintf("%d %s, %d before", c.now, c.what, c.then))
		}
	}
	return list
}

// growth is by how much the memory may be larger in the last third than in the second, as the least of each: garbage comes and goes. The
// first third is for warming up.
const growth = 1.15

// grows says whether the memory went on growing under load.
func grows(under []reading) (list []string) {
	third := len(under) / 3
	if third == 0 {
		return nil
	}
	for what, of := range map[string]func(reading) float64{
		"resident memory": func(s reading) float64 { return s.resident },
		"heap":            func(s reading) float64 { return s.heap },
	} {
		least := func(list []reading) float64 {
			v := of(list[0])
			for _, s := range list {
				v = min(v, of(s))
			}
			return v
		}
		then, now := least(under[third:2*third]), least(under[2*third:])
		if now > growth*then {
			list = append(list, fmt.Sprintf("the %s went on growing: at least %.1f MiB, after %.1f MiB", what, now, then))
		}
	}
	return list
}

// waitUntil gives what ends by itself its time.
func waitUntil(ctx context.Context, check func() error) error {
	return testnet.Until(ctx, 2*time.Minute, check)
}
