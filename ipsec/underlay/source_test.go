package underlay

import (
	"net/netip"
	"testing"
	"time"
)

func TestSourceIsChosenAgain(t *testing.T) {
	a, b, dst := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("198.51.100.1")
	now, routed, lookups := time.Unix(0, 0), b, 0
	s := newSources([]netip.Addr{a, b, netip.IPv4Unspecified()})
	s.now = func() time.Time { return now }
	s.lookup = func(netip.Addr) netip.Addr { lookups++; return routed }
	check := func(what string, want netip.Addr, wantLookups int) {
		t.Helper()
		if got := s.to(dst); got != want || lookups != wantLookups {
			t.Errorf("%s: %s after %d lookups, want %s after %d", what, got, lookups, want, wantLookups)
		}
	}
	check("routed source", b, 1)
	routed = netip.Addr{}
	check("remembered", b, 1)
	now = now.Add(sourceAge)
	check("route gone, asked again in time", a, 2)
	routed = b
	s.forget(dst)
	check("forgotten after an error", b, 3)
	if got := newSources(nil).to(dst); got.IsValid() {
		t.Errorf("nothing advertised: %s", got)
	}
}

func TestSourcesAreBounded(t *testing.T) {
	s := newSources([]netip.Addr{netip.MustParseAddr("192.0.2.1")})
	s.lookup = func(netip.Addr) netip.Addr { return netip.Addr{} }
	for i := range 3 * maxChoices {
		s.to(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	n := 0
	s.chosen.Range(func(any, any) bool { n++; return true })
	if n > maxChoices {
		t.Errorf("%d choices are kept", n)
	}
}
