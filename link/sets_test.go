package link

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
)

// sourcesOf returns n sources from number first on, by the names of their ports.
func sourcesOf(t *testing.T, first, n int) map[string]source {
	t.Helper()
	out := map[string]source{}
	for i := first; i < first+n; i++ {
		a := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 10<<24+uint32(i))))
		v := Veth{RouterEnd: fmt.Sprintf("ms%d", i), Addr: a, MAC: MACOf(a)}
		s, err := newSource(v)
		ok(t, err)
		out[v.RouterEnd] = s
	}
	return out
}

// TestManySources lets more ports send than one netlink message has room for: in a new table, in a table
// that gets them later, and in a table that has to replace them all.
func TestManySources(t *testing.T) {
	w := newWorld(t)
	for _, step := range []struct{ first, n int }{{0, 5000}, {0, 1}, {0, 8000}, {8000, 5000}} {
		want := sourcesOf(t, step.first, step.n)
		ok(t, w.r.setSources(want))
		have := must(w.r.sourcesThere())(t)
		for port, s := range want {
			if have[port] != s {
				t.Fatalf("%d ports from %d on: %s may send as %x, want %x", step.n, step.first, port, have[port], s)
			}
		}
		if len(have) != len(want) {
			t.Errorf("%d ports may send, want %d", len(have), len(want))
		}
	}
}

// TestManyGuardedRanges guards more ranges than one netlink message has room for.
func TestManyGuardedRanges(t *testing.T) {
	w := newWorld(t)
	var want []addrRange
	for i := range uint32(3000) {
		from := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 10<<24+4*i)))
		want = append(want, addrRange{from, from.Next()})
	}
	ok(t, w.r.setGuard(want))
	if have := must(w.r.guardRanges())(t); fmt.Sprint(have) != fmt.Sprint(want) {
		t.Errorf("%d ranges are guarded, want %d", len(have), len(want))
	}
}
