package main

import (
	"fmt"
	"io"

	"github.com/meshsec/meshsec/internal/bench/rounds"
)

func mbits(f figures) float64 { return f.mbits }

func rtt(f figures) float64 { return f.rtt }

// all gives one figure of every round.
func (w *way) all(figure func(figures) float64) (v []float64) {
	for _, f := range w.rounds {
		v = append(v, figure(f))
	}
	return v
}

// of is the median of one figure over all rounds.
func (w *way) of(figure func(figures) float64) float64 { return rounds.Median(w.all(figure)) }

func ratio(a, b *way, figure func(figures) float64) float64 {
	return rounds.Ratio(a.all(figure), b.all(figure))
}

// report writes the table. Ratios are the first way's to each.
func report(out io.Writer, ways []*way) {
	first := ways[0]
	fmt.Fprintf(out, "| container to container, medians of %d rounds | TCP, Mbit/s | %s / it | flood ping, ms | %[2]s / it | overhead, bytes | inner MTU |\n", len(first.rounds), first.name)
	fmt.Fprint(out, "|---|---|---|---|---|---|---|\n")
	for _, w := range ways {
		fmt.Fprintf(out, "| %s | %.0f | %.2f | %.3f | %.2f | %d | %d |\n",
			w.name, w.of(mbits), ratio(first, w, mbits), w.of(rtt), ratio(first, w, rtt), w.overhead, w.mtu)
	}
}
