package mesh

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/meshsec/meshsec/store"
)

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// sees has a host publish where it sees others: pairs of a host ID and an address.
func (f *facts) sees(by string, pairs ...string) {
	f.changeHost(by, func(h *store.Host) {
		h.Observed = map[string]netip.AddrPort{}
		for i := 0; i < len(pairs); i += 2 {
			h.Observed[pairs[i]] = at(pairs[i+1])
		}
	})
}

func (f *facts) peerOf(t *testing.T, id string) Peer {
	t.Helper()
	for _, p := range Compute(&f.snap, &f.local, f.o).Peers {
		if p.ID == id {
			return p
		}
	}
	t.Fatalf("no peer %s", id)
	return Peer{}
}

// A peer is tried at its own addresses, then where others see it, those first that most living hosts name.
func TestAddressesOfAPeer(t *testing.T) {
	f := baseFacts()
	for i := range 8 {
		f.host(fmt.Sprint("w", i), 20+i)
	}
	f.snap.Alive = map[string]bool{"w3": true, "w4": true, "w5": true}
	f.changeHost("b", func(h *store.Host) {
		h.Addrs = append(h.Addrs, addr("2001:db8::1"), addr("10.0.0.2"), addr("10.0.0.2"))
	})
	f.sees("b", "b", "198.51.100.9:9") // of itself: means nothing
	f.sees("w0", "b", "198.51.100.1:1")
	f.sees("w1", "b", "198.51.100.1:1")
	f.sees("w2", "b", "198.51.100.1:2")
	f.sees("w3", "b", "198.51.100.1:3")
	f.sees("w4", "b", "198.51.100.1:3")
	f.sees("w5", "b", "198.51.100.1:4")
	f.sees("w6", "b", "[2001:db8::7]:4500")
	f.sees("w7", "b", "198.51.100.1:5")
	p := f.peerOf(t, "b")
	var got []string
	for _, a := range append(p.Addrs, p.Seen...) {
		got = append(got, a.String())
	}
	want := []string{"192.0.2.2:4500", "10.0.0.2:4500", "198.51.100.1:3", "198.51.100.1:4", "198.51.100.1:1", "198.51.100.1:2"}
	if !slices.Equal(got, want) || p.Remote != at(want[0]) || p.Near {
		t.Errorf("%v, near %v, remote %v", got, p.Near, p.Remote)
	}
	if n := len(f.peerOf(t, "c").Addrs) + len(f.peerOf(t, "c").Seen); n != 1 {
		t.Errorf("c has %d addresses", n)
	}
}

// What a NAT forwards comes first, but not for hosts behind the same NAT.
func TestNearAndForwards(t *testing.T) {
	f := baseFacts()
	f.changeHost("b", func(h *store.Host) { h.Forwards = []netip.AddrPort{at("198.51.100.1:14500")} })
	p := f.peerOf(t, "b")
	if !slices.Equal(p.Addrs, []netip.AddrPort{at("198.51.100.1:14500"), at("192.0.2.2:4500")}) || p.Near || p.Remote != p.Addrs[0] {
		t.Errorf("far: %+v", p)
	}
	f.sees("c", "a", "198.51.100.1:20001")
	p = f.peerOf(t, "b")
	if !slices.Equal(p.Addrs, []netip.AddrPort{at("192.0.2.2:4500"), at("198.51.100.1:14500")}) || !p.Near || p.Remote != p.Addrs[1] {
		t.Errorf("near: %+v", p)
	}
	f.sees("c", "a", "198.51.100.1:20001", "b", "198.51.100.1:20002")
	f.changeHost("b", func(h *store.Host) { h.Forwards = nil })
	if p = f.peerOf(t, "b"); !p.Near || p.Remote != at("192.0.2.2:4500") || len(p.Addrs) != 1 || len(p.Seen) != 1 {
		t.Errorf("seen behind one NAT: %+v", p)
	}
	f.changeHost("b", func(h *store.Host) { h.Addrs, h.Forwards = nil, []netip.AddrPort{at("198.51.100.1:14500")} })
	if p = f.peerOf(t, "b"); p.Remote != at("198.51.100.1:14500") {
		t.Errorf("only forwards: %+v", p)
	}
}

func TestBehindNAT(t *testing.T) {
	for _, c := range []struct {
		name string
		b, c string // where a and c see b
		more []netip.AddrPort
		want NAT
	}{
		{"not seen", "", "", nil, NoNAT},
		{"at its own address", "192.0.2.2:4500", "", []netip.AddrPort{{}}, NoNAT},
		{"where it says that a NAT forwards", "203.0.113.1:1", "", nil, NoNAT},
		{"one host, same port", "198.51.100.1:4500", "", nil, StableNAT},
		{"one host, another port", "198.51.100.1:4501", "", nil, ChangingNAT},
		{"both agree", "198.51.100.1:4501", "198.51.100.1:4501", nil, StableNAT},
		{"both differ", "198.51.100.1:4500", "198.51.100.1:4501", nil, ChangingNAT},
		{"the peers differ", "198.51.100.1:4500", "", []netip.AddrPort{at("198.51.100.1:7"), at("192.0.2.2:4500")}, ChangingNAT},
	} {
		f := baseFacts()
		f.changeHost("b", func(h *store.Host) { h.Forwards = []netip.AddrPort{at("203.0.113.1:1")} })
		for by, seen := range map[string]string{"a": c.b, "c": c.c} {
			if seen != "" {
				f.sees(by, "b", seen)
			}
		}
		if got := BehindNAT(&f.snap, "b", c.more...); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
