package ipam

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/meshsec/meshsec/store"
)

func p(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func a(s string) netip.Addr   { return netip.MustParseAddr(s) }

func fact(pool string, w wish) store.Network {
	n, err := propose("n", p(pool), w)
	if err != nil {
		panic(err)
	}
	return n
}

func TestLayoutOfPools(t *testing.T) {
	for _, c := range []struct{ pool, sub, dynamic, static, blocks string }{
		{"10.42.0.0/16", "", "10.42.64.0/18, 10.42.128.0/17", "10.42.0.0/18", "768 of /26"},
		{"10.42.16.0/20", "", "10.42.20.0/22, 10.42.24.0/21", "10.42.16.0/22", "48 of /26"},
		{"10.42.0.0/22", "", "10.42.1.0/24, 10.42.2.0/23", "10.42.0.0/24", "48 of /28"},
		{"10.42.0.0/24", "", "10.42.0.64/26, 10.42.0.128/25", "10.42.0.0/26", "48 of /30"},
		{"10.42.0.16/28", "", "10.42.0.20/30, 10.42.0.24/29", "10.42.0.16/30", "3 of /30"},
		{"10.0.0.0/8", "", "10.64.0.0/10, 10.128.0.0/9", "10.0.0.0/10", "196608 of /26"},
		{"10.42.0.0/16", "10.42.3.0/24", "10.42.3.0/24", "10.42.0.0/23, 10.42.2.0/24, 10.42.4.0/22, 10.42.8.0/21, 10.42.16.0/20, 10.42.32.0/19, 10.42.64.0/18, 10.42.128.0/17", "32 of /29"},
		{"10.42.0.0/16", "10.42.0.0/16", "10.42.0.0/16", "", "1024 of /26"},
	} {
		w := wish{}
		if c.sub != "" {
			w.sub = p(c.sub)
		}
		n := fact(c.pool, w)
		seen := map[netip.Prefix]bool{}
		for b := range blocks(n, 5) {
			seen[b] = true
		}
		got := []string{list(n.Dynamic), list(static(n)), fmt.Sprintf("%d of /%d", len(seen), n.BlockLen)}
		if want := []string{c.dynamic, c.static, c.blocks}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s, --ip-range %q: got %q, want %q", c.pool, c.sub, got, want)
		}
	}
}

// Every address of a pool is either in exactly one block or in the static range.
func TestEveryAddressHasOnePlace(t *testing.T) {
	for _, n := range []store.Network{fact("10.42.0.0/22", wish{}), fact("10.42.0.0/24", wish{block: 28}), fact("10.42.0.0/23", wish{sub: p("10.42.1.128/26")})} {
		places := map[netip.Addr]int{}
		count := func(r netip.Prefix) {
			for addr := r.Addr(); r.Contains(addr); addr = addr.Next() {
				places[addr]++
			}
		}
		for block := range blocks(n, 7) {
			count(block)
			if of, dynamic := blockOf(n, last(block)); !dynamic || of != block {
				t.Errorf("%v: block of %v is %v", n.Pool, last(block), of)
			}
		}
		for _, r := range static(n) {
			count(r)
			if _, dynamic := blockOf(n, r.Addr()); dynamic {
				t.Errorf("%v: static %v is in a block", n.Pool, r)
			}
		}
		for addr := n.Pool.Addr(); n.Pool.Contains(addr); addr = addr.Next() {
			if places[addr] != 1 {
				t.Errorf("%v: %v has %d places", n.Pool, addr, places[addr])
			}
		}
		if len(places) != 1<<(32-n.Pool.Bits()) {
			t.Errorf("%v: %d addresses", n.Pool, len(places))
		}
	}
}

func TestBlockLengthIsChecked(t *testing.T) {
	if n, err := propose("n", p("10.42.0.0/16"), wish{block: 24}); err != nil || n.BlockLen != 24 {
		t.Errorf("got %d, %v", n.BlockLen, err)
	}
	for _, w := range []wish{{block: 23}, {block: 31}, {block: 24, sub: p("10.42.3.0/25")}} {
		if _, err := propose("n", p("10.42.0.0/16"), w); err == nil {
			t.Errorf("%+v was accepted", w)
		}
	}
}

func TestReservedAddresses(t *testing.T) {
	n := fact("10.42.0.0/24", wish{})
	n.Aux = map[string]netip.Addr{"printer": a("10.42.0.9")}
	for addr, want := range map[string]string{
		"10.42.0.0": "the network address", "10.42.0.255": "the broadcast address", "10.42.0.1": "the gateway",
		"10.42.0.9": `the auxiliary address "printer"`, "10.42.0.2": "", "10.42.0.254": "",
	} {
		if got := reserved(n, a(addr)); got != want {
			t.Errorf("%s: got %q, want %q", addr, got, want)
		}
	}
}

func TestBlocksServeASubPool(t *testing.T) {
	pool := store.LocalPool{SubPool: p("10.42.64.16/28"), Fact: fact("10.42.0.0/16", wish{})}
	var got []netip.Addr
	for addr := range dynamicOf(pool, p("10.42.64.0/26")) {
		got = append(got, addr)
	}
	if len(got) != 16 || got[0] != a("10.42.64.16") || got[15] != a("10.42.64.31") {
		t.Errorf("got %v", got)
	}
	if serves(pool, p("10.42.64.64/26")) {
		t.Error("a block outside the sub-pool serves it")
	}
	tiny := store.LocalPool{Fact: fact("10.42.0.0/28", wish{sub: p("10.42.0.0/28")})}
	tiny.Fact.Aux = map[string]netip.Addr{"a": a("10.42.0.2"), "b": a("10.42.0.3")}
	if serves(tiny, p("10.42.0.0/30")) {
		t.Error("a block of reserved addresses serves")
	}
}
