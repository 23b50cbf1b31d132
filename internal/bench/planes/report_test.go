package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	ours := &way{name: "meshsec", mtu: 1438, overhead: 60, rounds: []figures{{100, 2}, {50, 4}, {90, 1}}}
	other := &way{name: "other", mtu: 1400, overhead: 80, rounds: []figures{{50, 4}, {50, 4}, {30, 4}}}
	var out strings.Builder
	report(&out, []*way{ours, other})
	for _, want := range []string{"medians of 3 rounds", "| meshsec | 90 | 1.00 | 2.000 | 1.00 | 60 | 1438 |", "| other | 50 | 2.00 | 4.000 | 0.50 | 80 | 1400 |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
