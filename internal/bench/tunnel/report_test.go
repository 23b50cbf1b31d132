package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	made := func(name string, rss int, rates ...float64) *subject {
		s := &subject{name: name, rss: rss, runs: map[int][]measured{}}
		for _, r := range rates {
			m := measured{gbits: r, tunnel: 1 / r, overall: 2 / r}
			s.runs[1], s.runs[4] = append(s.runs[1], m), append(s.runs[4], m)
		}
		return s
	}
	a, b, c := made("meshsec", 10240, 4, 2, 6), made("wireguard-go", 102400, 2, 1, 2), made("plain veth", 0, 10, 10, 10)
	var out strings.Builder
	report(&out, a, b, c)
	for _, want := range []string{
		"medians of 3 rounds | meshsec | wireguard-go | plain veth | meshsec / wireguard-go |",
		"| 1 stream(s): throughput, Gbit/s | 4.00 | 2.00 | 10.00 | **2.00** |",
		"| largest resident set of an end, MB | 10.0 | 100.0 | – | **0.10** |",
		"one stream: met; a quarter of its memory: met.",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	out.Reset()
	report(&out, b, a, c)
	if strings.Count(out.String(), "**missed**") != 2 {
		t.Error(out.String())
	}
}

func TestParse(t *testing.T) {
	if ticks, err := parseStat("7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0"); err != nil || ticks != 175 {
		t.Errorf("%v, %v", ticks, err)
	}
	if _, err := parseStat("garbage"); err == nil {
		t.Error("garbage parsed")
	}
	bytes, rate, err := parseIperf([]byte(`{"end":{"sum_received":{"bytes":1000,"bits_per_second":8000}}}`))
	if err != nil || bytes != 1000 || rate != 8000 {
		t.Errorf("%v, %v, %v", bytes, rate, err)
	}
	for _, bad := range []string{`{}`, `{"error":"refused"}`, `x`} {
		if _, _, err := parseIperf([]byte(bad)); err == nil {
			t.Errorf("%s parsed", bad)
		}
	}
}
