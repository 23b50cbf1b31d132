package ipsec

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// DiffPrefixes against a search of one list for every element of the other.
func TestDiffPrefixes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	some := func() (list []netip.Prefix) {
		for range r.IntN(20) {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(12))}), 30+r.IntN(3))
			list = append(list, p)
			if r.IntN(5) == 0 {
				list = append(list, p) // twice
			}
		}
		slices.SortFunc(list, ComparePrefixes)
		return list
	}
	lacks := func(list, in []netip.Prefix) (out []netip.Prefix) {
		for _, p := range slices.Compact(slices.Clone(list)) {
			if !slices.Contains(in, p) {
				out = append(out, p)
			}
		}
		return out
	}
	for range 2000 {
		was, is := some(), some()
		lost, gained := DiffPrefixes(was, is)
		if !slices.Equal(slices.Compact(lost), lacks(was, is)) || !slices.Equal(slices.Compact(gained), lacks(is, was)) {
			t.Fatalf("%v → %v: lost %v, gained %v", was, is, lost, gained)
		}
		if lost, gained := DiffPrefixes(was, slices.Clone(was)); lost != nil || gained != nil || !SamePrefixes(was, was) {
			t.Fatalf("%v → itself: lost %v, gained %v", was, lost, gained)
		}
	}
}
