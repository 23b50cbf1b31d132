package handshake

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

var (
	natA = netip.MustParseAddrPort("198.51.100.1:4500")
	natB = netip.MustParseAddrPort("198.51.100.2:20001")
)

// behindNATs has two hosts whose NATs let in only what comes from where they have sent to. Their facts have private addresses.
func behindNATs(t *testing.T) (w *world, a, b *host) {
	w = newWorld(t, 1, cheapSuite, "a", "b")
	a, b = w.hosts[0], w.hosts[1]
	a.public, b.public = natA, natB
	for _, h := range w.hosts {
		h.opened = map[netip.AddrPort]bool{}
		h.options.Local = []netip.AddrPort{h.addr}
		h.boot()
	}
	a.know(b)
	b.know(a)
	return w, a, b
}

// told is given where others see a peer.
func (h *host) told(peer *host, at ...netip.AddrPort) {
	fact := peer.fact()
	fact.Addrs, fact.Seen = []netip.AddrPort{fact.Remote}, at
	h.facts = []Peer{fact}
	h.setPeers()
}

// Two hosts behind NATs meet once each knows where others see the other, whoever learns it first, and both keep their NATs open.
func TestHostsBehindTwoNATsMeet(t *testing.T) {
	for _, late := range []time.Duration{0, time.Second, time.Minute} {
		w, a, b := behindNATs(t)
		w.run(time.Minute)
		if a.packets+b.packets != 0 {
			t.Fatal("they meet without knowing where")
		}
		a.told(b, natB)
		w.run(late)
		b.told(a, natA)
		if !w.runUntil(w.now+5*time.Second, func() bool { return settled(a, b) }) {
			t.Fatalf("%v later: %+v, %+v", late, a.status(b), b.status(a))
		}
		if a.status(b).Remote != natB || b.status(a).Remote != natA {
			t.Errorf("%+v, %+v", a.status(b), b.status(a))
		}
		w.run(20 * time.Second)
		if a.status(b).Observed != natA || b.status(a).Observed != natB {
			t.Errorf("observed %v and %v", a.status(b).Observed, b.status(a).Observed)
		}
		a.kept, b.kept = 0, 0
		w.run(10 * time.Minute)
		if a.kept != 30 || b.kept != 30 {
			t.Errorf("%d and %d keepalives", a.kept, b.kept)
		}
	}
}

// When a NAT's address changes, its host is found as soon as others see it there, without waiting for silence.
func TestNewMappingIsFound(t *testing.T) {
	w, a, b := behindNATs(t)
	a.told(b, natB)
	b.told(a, natA)
	meet(t, a, b)
	w.run(time.Minute)
	b.public = elsewhere
	b.esp("a", false) // it does not get through, but opens b's new NAT
	w.run(time.Second)
	a.told(b, elsewhere, natB) // one of two who see it knows already
	w.run(time.Second)
	a.told(b, elsewhere)
	if !w.runUntil(w.now+2*time.Second, func() bool { return settled(a, b) && a.status(b).Remote == elsewhere }) {
		t.Errorf("%+v, %+v", a.status(b), b.status(a))
	}
}

// Where others claim to see a peer is only tried: neither what is sent nor what comes back moves.
func TestLiesRedirectNothing(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	meet(t, a, b)
	w.run(time.Minute)
	sent := 0
	w.tap = func(_, to netip.AddrPort, _ []byte) {
		if to == elsewhere {
			sent++
		}
	}
	for i := range 30 {
		lies := []netip.AddrPort{elsewhere, natA}
		a.told(b, lies[i%2:]...)
		b.told(a, lies[:i%2]...)
		before := b.packets
		a.esp("b", false)
		w.run(time.Second)
		if b.packets == before || a.status(b).Remote != b.addr || b.status(a).Remote != a.addr {
			t.Fatalf("%+v, %+v", a.status(b), b.status(a))
		}
	}
	a.limit("b", a.sas["b"].Out)
	meet(t, a, b)
	if a.status(b).Remote != b.addr || sent > 2 {
		t.Errorf("%d datagrams went there, %+v", sent, a.status(b))
	}
}

// A peer whose own address changes is asked for a handshake: it may have been restarted, and this host be behind a NAT that lets
// in nothing from there.
func TestMovedPeerIsAsked(t *testing.T) {
	w, a, b := behindNATs(t)
	a.opened = nil
	a.public = a.addr
	b.know(a)
	meet(t, a, b)
	w.run(time.Minute)
	a.addr = netip.MustParseAddrPort("172.30.0.50:4500")
	a.public = a.addr
	a.boot()
	b.public = elsewhere // to each destination by another port
	b.opened = map[netip.AddrPort]bool{}
	b.facts = nil
	b.know(a)
	if !w.runUntil(w.now+secondDelay+time.Second, func() bool { return settled(a, b) }) {
		t.Errorf("%+v, %+v", a.status(b), b.status(a))
	}
}

// News that come again and again begin a handshake once in ten seconds at most: they may be lies.
func TestNewsAreNoStorm(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	a.told(b, natB)
	meet(t, a, b)
	w.run(time.Minute)
	inits := 0
	w.tap = func(_, _ netip.AddrPort, msg []byte) {
		if msg[0] == typeInit && msg[2] == 0 {
			inits++
		}
	}
	for i := range 60 {
		a.m.peers["b"].at = netip.AddrPortFrom(natB.Addr(), uint16(1000+i))
		a.told(b, netip.AddrPortFrom(natB.Addr(), uint16(1001+i)))
		w.run(time.Second)
	}
	if inits > 21 { // each of the seven tries three addresses
		t.Errorf("%d inits in a minute", inits)
	}
	b.down = true
	a.limit("b", a.sas["b"].Out)
	w.run(5 * time.Minute)
	inits = 0
	for i := range 60 {
		a.told(b, netip.AddrPortFrom(natB.Addr(), uint16(2000+i)))
		w.run(time.Second)
	}
	if inits > 45 { // seven times the first two rounds of three addresses
		t.Errorf("%d inits in a minute to a host that is down", inits)
	}
}

// Every address is tried in turn; behind one NAT the peer's own first, elsewhere where it was seen. Own addresses are left out.
func TestAddresses(t *testing.T) {
	_, a, b := newPairWorld(t, 1)
	a.m.options.Local = []netip.AddrPort{a.addr}
	p := a.m.peers["b"]
	p.Addrs, p.Seen = []netip.AddrPort{elsewhere, b.addr}, []netip.AddrPort{a.addr, natA, {}, natB}
	p.at = natB
	want := []netip.AddrPort{natB, natA, b.addr, elsewhere}
	if got := a.m.addresses(p); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	p.Near = true
	want = []netip.AddrPort{elsewhere, b.addr, natB, natA}
	if got := a.m.addresses(p); !slices.Equal(got, want) {
		t.Errorf("near: %v, want %v", got, want)
	}
	*p = peer{Peer: Peer{Remote: a.addr}}
	if got := a.m.addresses(p); !slices.Equal(got, []netip.AddrPort{a.addr}) {
		t.Errorf("only its own: %v", got)
	}
}

// A host behind the same NAT that was first reached through it is soon reached directly.
func TestNearPeerIsFoundDirectly(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	meet(t, a, b)
	w.run(time.Minute)
	for _, h := range []*host{a, b} {
		other := w.hosts[0]
		if h == a {
			other = b
		}
		fact := other.fact()
		fact.Addrs, fact.Seen, fact.Near = []netip.AddrPort{fact.Remote}, []netip.AddrPort{elsewhere}, true
		h.facts = []Peer{fact}
		h.setPeers()
		h.m.peers[other.id].at = elsewhere
		h.install()
	}
	for _, h := range []*host{a, b} { // as when the packet that proved the pair came through the NAT
		for _, p := range h.m.peers {
			h.m.shorten(w.now, p)
		}
		h.step(nil)
	}
	w.run(searchEvery + secondDelay + time.Second)
	if a.status(b).Remote != b.addr || b.status(a).Remote != a.addr || !settled(a, b) {
		t.Errorf("%+v, %+v", a.status(b), b.status(a))
	}
}

// What an init says of where this host is seen counts only once the pair is proven: it may be a replay.
func TestTargetOfAReplay(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	b.options.Local = []netip.AddrPort{b.addr}
	b.boot()
	meet(t, a, b)
	w.run(time.Minute)
	seen := b.status(a).Observed
	init, body, err := a.m.newInit(w.now, a.m.peers["b"], elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range split(header{kind: typeInit, sender: init.index}, body, macKey(a.m.peers["b"].Public[:])) {
		b.receive(elsewhere, d)
	}
	w.run(time.Minute)
	if got := b.status(a).Observed; got != seen || b.kept != 0 {
		t.Errorf("observed %v, %d keepalives", got, b.kept)
	}
}
