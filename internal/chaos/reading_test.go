package main

import (
	"strings"
	"testing"
)

func series30(resident func(i int) float64) (list []reading) {
	for i := range 30 {
		list = append(list, reading{resident: resident(i), heap: 10})
	}
	return list
}

func TestGrows(t *testing.T) {
	for name, c := range map[string]struct {
		under []reading
		grows bool
	}{
		"flat":                   {series30(func(int) float64 { return 50 }), false},
		"warms up":               {series30(func(i int) float64 { return 30 + 20*min(1, float64(i)/8) }), false},
		"garbage comes and goes": {series30(func(i int) float64 { return 50 + 20*float64(i%5) }), false},
		"a leak":                 {series30(func(i int) float64 { return 30 + 2*float64(i) }), true},
		"a leak amid garbage":    {series30(func(i int) float64 { return 30 + 2*float64(i) + 20*float64(i%5) }), true},
		"too few to say":         {series30(func(i int) float64 { return float64(i) })[:2], false},
		"late, as a step that stays": {series30(func(i int) float64 {
			if i > 15 {
				return 80
			}
			return 50
		}), true},
	} {
		if got := grows(c.under); (len(got) > 0) != c.grows {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestExceeds(t *testing.T) {
	before := reading{goroutines: 100, files: 20, links: 8, routes: 30, neighbours: 2, rules: 40, security: 6}
	if got := before.exceeds(before); len(got) > 0 {
		t.Errorf("the same: %v", got)
	}
	less := before
	less.links, less.goroutines = 7, 90
	if got := less.exceeds(before); len(got) > 0 {
		t.Errorf("less: %v", got)
	}
	more := reading{goroutines: 111, files: 25, links: 9, routes: 31, neighbours: 3, rules: 41, security: 7}
	if got := strings.Join(more.exceeds(before), "; "); got != "111 goroutines, 100 before; 25 open files, 20 before; 9 links, 8 before; "+
		"31 routes, 30 before; 3 neighbours, 2 before; 41 nftables' lines, 40 before; 7 SAs and policies, 6 before" {
		t.Error(got)
	}
}
