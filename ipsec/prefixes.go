package ipsec

import (
	"cmp"
	"net/netip"
	"slices"
)

// ComparePrefixes is the order of Peer.Prefixes: by address, then by length.
func ComparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// SamePrefixes says that two lists are equal. It is at once certain of a list that has been kept.
func SamePrefixes(a, b []netip.Prefix) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.Equal(a, b))
}

// DiffPrefixes gives what a sorted list has lost and gained on the way to another sorted one.
func DiffPrefixes(was, is []netip.Prefix) (lost, gained []netip.Prefix) {
	if SamePrefixes(was, is) {
		return nil, nil
	}
	for len(was) > 0 && len(is) > 0 {
		switch a, b := was[0], is[0]; {
		case a == b:
			was, is = after(was), after(is)
		case ComparePrefixes(a, b) < 0:
			lost, was = append(lost, a), after(was)
		default:
			gained, is = append(gained, b), after(is)
		}
	}
	return append(lost, was...), append(gained, is...)
}

// after leaves out the first element, however often it is there.
func after(list []netip.Prefix) []netip.Prefix {
	n := 1
	for n < len(list) && list[n] == list[0] {
		n++
	}
	return list[n:]
}
