// Command tunnel measures the userspace data plane: TCP between two network namespaces through meshsec's tunnel, through
// wireguard-go's and over the plain veth below both, in turns, so that a busy machine hits all three alike. It prints a
// Markdown table; only its ratios mean anything. Needs root, iperf3 and, to build wireguard-go, a Go module proxy.
//
//	mst-bench-ra ─ tunnel ─ mst-bench-ha ═ veth, MTU 1500 ═ mst-bench-hb ─ tunnel ─ mst-bench-rb
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// settings of one benchmark.
type settings struct {
	rounds int           // of each subject
	length time.Duration // of one transfer
	build  string        // where wireguard-go is built
	encap  string        // of meshsec
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "endpoint" {
		exit(endpoint(os.Args[2:]))
	}
	var s settings
	flag.IntVar(&s.rounds, "rounds", 7, "`number` of rounds")
	flag.DurationVar(&s.length, "time", 3*time.Second, "`duration` of one transfer, whole seconds")
	flag.StringVar(&s.build, "build", "build/wireguard-go", "`directory` that wireguard-go is built in")
	flag.StringVar(&s.encap, "encap", "udp", "meshsec's `encapsulation`, udp or esp")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	exit(run(ctx, s))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench tunnel:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context, s settings) (err error) {
	wireguard, err := buildWireGuard(ctx, s.build)
	if err != nil {
		return err
	}
	l, err := newLab(ctx)
	defer func() { err = errors.Join(err, l.close()) }()
	if err != nil {
		return err
	}
	subjects := []*subject{plain(), {name: "meshsec"}, {name: "wireguard-go"}}
	if err := l.startMeshsec(ctx, subjects[1], s.encap); err != nil {
		return err
	}
	if err := l.startWireGuard(ctx, wireguard, subjects[2]); err != nil {
		return err
	}
	for _, t := range subjects {
		if err := l.reachable(ctx, t); err != nil {
			return err
		}
	}
	for round := range s.rounds {
		for i := range subjects {
			t := subjects[(round+i)%len(subjects)]
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, s.rounds, t.name)
			for _, streams := range []int{1, 4} {
				m, err := l.transfer(ctx, t, streams, s.length)
				if err != nil {
					return fmt.Errorf("%s, %d streams: %w", t.name, streams, err)
				}
				t.runs[streams] = append(t.runs[streams], m)
			}
		}
	}
	for _, t := range subjects {
		if err := t.memory(); err != nil {
			return err
		}
	}
	report(os.Stdout, subjects[1], subjects[2], subjects[0])
	return nil
}
