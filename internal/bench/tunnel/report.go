package main

import (
	"fmt"
	"io"

	"github.com/meshsec/meshsec/internal/bench/rounds"
)

// of gives one figure of every round.
func (s *subject) of(streams int, figure func(measured) float64) (v []float64) {
	for _, m := range s.runs[streams] {
		v = append(v, figure(m))
	}
	return v
}

func gbits(m measured) float64 { return m.gbits }

func ratio(a, b *subject, streams int, figure func(measured) float64) float64 {
	return rounds.Ratio(a.of(streams, figure), b.of(streams, figure))
}

// report writes the table: meshsec, wireguard-go and what is below both.
func report(w io.Writer, meshsec, wireguard, plain *subject) {
	subjects := []*subject{meshsec, wireguard, plain}
	fmt.Fprintf(w, "| TCP between two namespaces, medians of %d rounds | %s | %s | %s | %[2]s / %[3]s |\n|---|---|---|---|---|\n",
		len(plain.runs[1]), meshsec.name, wireguard.name, plain.name)
	row := func(name, format string, value func(*subject) float64, ratio float64) {
		fmt.Fprintf(w, "| %s |", name)
		for _, s := range subjects {
			if v := value(s); v > 0 {
				fmt.Fprintf(w, " "+format+" |", v)
			} else {
				fmt.Fprint(w, " – |")
			}
		}
		fmt.Fprintf(w, " **%.2f** |\n", ratio)
	}
	for _, streams := range []int{1, 4} {
		for _, f := range []struct {
			name   string
			figure func(measured) float64
		}{
			{"throughput, Gbit/s", gbits},
			{"CPU of both ends, s per Gbit", func(m measured) float64 { return m.tunnel }},
			{"the same with iperf3", func(m measured) float64 { return m.overall }},
		} {
			row(fmt.Sprintf("%d stream(s): %s", streams, f.name), "%.2f",
				func(s *subject) float64 { return rounds.Median(s.of(streams, f.figure)) }, ratio(meshsec, wireguard, streams, f.figure))
		}
	}
	row("largest resident set of an end, MB", "%.1f", func(s *subject) float64 { return float64(s.rss) / 1024 },
		float64(meshsec.rss)/float64(wireguard.rss))
	fmt.Fprintf(w, "\nThe last column is the median of each round's own ratio. wireguard-go %s, MTU %d; meshsec AES-256-GCM, MTU 1438.\n", wireguardVersion, wireguardMTU)
	verdict := func(ok bool) string {
		if ok {
			return "met"
		}
		return "**missed**"
	}
	fmt.Fprintf(w, "Aims: 1.5 times wireguard-go's throughput with one stream: %s; a quarter of its memory: %s.\n",
		verdict(ratio(meshsec, wireguard, 1, gbits) >= 1.5), verdict(4*meshsec.rss <= wireguard.rss))
}
