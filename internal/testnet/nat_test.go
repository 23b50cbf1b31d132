package testnet_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/meshsec/meshsec/internal/testnet"
)

// node is a UDP socket of a host.
type node struct {
	t    *testing.T
	conn *net.UDPConn
}

func listen(t *testing.T, h *testnet.Host, port int) node {
	t.Helper()
	n := node{t: t}
	err := h.Enter(func() (err error) {
		n.conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: h.Addr.AsSlice(), Port: port})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.conn.Close() })
	return n
}

func (n node) send(to netip.AddrPort, what string) {
	n.t.Helper()
	if _, err := n.conn.WriteToUDPAddrPort([]byte(what), to); err != nil {
		n.t.Error(err)
	}
}

// got waits for a datagram with that content and says where it came from; without one, the address is invalid. What was expected
// to be lost is sent before something that is not, so there is nothing to wait for.
func (n node) got(what string) netip.AddrPort {
	n.t.Helper()
	if err := n.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		n.t.Fatal(err)
	}
	buf := make([]byte, 100)
	l, from, err := n.conn.ReadFromUDPAddrPort(buf)
	if err != nil || string(buf[:l]) != what {
		n.t.Errorf("%q from %v, %v; want %q", buf[:l], from, err, what)
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// TestNAT looks at what each translation shows outside, and at what gets in.
func TestNAT(t *testing.T) {
	c := cluster(t, testnet.Options{Hosts: 2, NAT: true})
	watch(t, c).Check(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	p, q := listen(t, c.Hosts[0], 4500), listen(t, c.Hosts[1], 4500)
	stranger := listen(t, c.Hosts[1], 4600)
	to := func(h *testnet.Host) netip.AddrPort { return netip.AddrPortFrom(h.Addr, 4500) }
	carrier, err := c.AddCarrier(ctx, "cgn", testnet.Map)
	must(err)
	for i, kind := range []testnet.Translation{testnet.Keep, testnet.Map, testnet.Random} {
		for j, behind := range []*testnet.NAT{nil, carrier} {
			n, err := c.AddNAT(ctx, fmt.Sprintf("n%d%d", i, j), behind, kind)
			must(err)
			host, err := n.AddHost(ctx, fmt.Sprintf("a%d%d", i, j))
			must(err)
			a := listen(t, host, 4500)
			a.send(to(c.Hosts[0]), "one")
			a.send(to(c.Hosts[1]), "two")
			one, two := p.got("one"), q.got("two")
			outside := n.Addr()
			if behind != nil {
				outside = behind.Addr()
			}
			if one.Addr() != outside || (kind != testnet.Random) != (one == two) || behind == nil && (kind == testnet.Keep) != (one.Port() == 4500) {
				t.Errorf("%s: seen at %v and %v", n.Name, one, two)
			}
			stranger.send(one, "stray")
			p.send(one, "back")
			if from := a.got("back"); from != to(c.Hosts[0]) { // and not the stray one
				t.Errorf("%s: answer from %v", n.Name, from)
			}
		}
	}
}

// TestNATsForward, find hosts behind themselves, and change.
func TestNATsForward(t *testing.T) {
	c := cluster(t, testnet.Options{Hosts: 1, NAT: true})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	n, err := c.AddNAT(ctx, "home", nil, testnet.Map)
	must(err)
	w, err := n.Watch()
	must(err)
	t.Cleanup(func() { w.Close() })
	w.Check(t)
	ha, err := n.AddHost(ctx, "ha")
	must(err)
	hb, err := n.AddHost(ctx, "hb")
	must(err)
	p, a, b := listen(t, c.Hosts[0], 4500), listen(t, ha, 4500), listen(t, hb, 4500)
	outside := netip.AddrPortFrom(c.Hosts[0].Addr, 4500)

	must(n.Forward(ctx, 14500, hb))
	p.send(netip.AddrPortFrom(n.Addr(), 14500), "in")
	if from := b.got("in"); from != outside {
		t.Errorf("from %v", from)
	}
	a.send(netip.AddrPortFrom(n.Addr(), 20002), "hairpin")
	if from := b.got("hairpin"); from != netip.AddrPortFrom(n.Addr(), 20001) {
		t.Errorf("a is seen at %v by b", from)
	}
	a.send(netip.AddrPortFrom(hb.Addr, 4500), "direct")
	if from := b.got("direct"); from.Addr() != ha.Addr {
		t.Errorf("a is seen at %v by b", from)
	}
	a.send(outside, "before")
	before := p.got("before")
	must(n.Remap(ctx))
	a.send(outside, "remapped")
	remapped := p.got("remapped")
	must(n.Renumber(ctx, 77))
	a.send(outside, "renumbered")
	renumbered := p.got("renumbered")
	if remapped.Addr() != before.Addr() || remapped.Port() == before.Port() || renumbered != netip.AddrPortFrom(n.Addr(), remapped.Port()) || n.Addr() == before.Addr() {
		t.Errorf("%v, %v, %v", before, remapped, renumbered)
	}
}
