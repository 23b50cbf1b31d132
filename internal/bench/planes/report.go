package main

import (
	"fmt"
	"io"
	"slices"
)

func mbits(f figures) float64 { return f.mbits }

func rtt(f figures) float64 { return f.rtt }

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	if n == 0 {
		return 0
	}
	return (v[(n-1)/2] + v[n/2]) / 2
}

// of is the median of one figure over all rounds.
func (w *way) of(figure func(figures) float64) float64 {
	var v []float64
	for _, f := range w.rounds {
		v = append(v, figure(f))
	}
	return median(v)
}

// ratio compares a with b round by round, so that load which comes and goes hits both, and takes the median.
func ratio(a, b *way, figure func(figures) float64) float64 {
	var v []float64
	for i := range min(len(a.rounds), len(b.rounds)) {
		v = append(v, figure(a.rounds[i])/figure(b.rounds[i]))
	}
	return median(v)
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
