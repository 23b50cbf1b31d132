package handshake

import (
	"net/netip"
	"testing"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

var elsewhere = netip.MustParseAddrPort("198.51.100.7:1024")

// A host whose address or NAT port changes keeps its tunnel: its next packet tells, without a handshake.
func TestMoveKeepsTheTunnel(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	meet(t, a, b)
	w.run(time.Minute)
	w.tap = func(_, _ netip.AddrPort, msg []byte) { t.Errorf("a handshake message of type %d", msg[0]) }
	out := a.sas["b"].Out.SPI
	for i := range 10 {
		a.public = netip.AddrPortFrom(elsewhere.Addr(), uint16(2000+i))
		a.esp("b", false)
		w.run(time.Second)
		if at := b.status(a).Remote; at != a.public || b.sas["a"].Remote != a.public {
			t.Fatalf("b has a at %v", at)
		}
		before := a.packets
		b.esp("a", false)
		w.run(time.Second)
		if a.packets != before+1 || a.sas["b"].Out.SPI != out {
			t.Error("nothing comes back")
		}
	}
}

// A host that moved and was restarted, and one that moved while it rekeys, are found by what they send.
func TestMoveByHandshake(t *testing.T) {
	for _, restarts := range []bool{true, false} {
		for mover := range 2 {
			w, a, b := newPairWorld(t, 1)
			meet(t, a, b)
			w.run(time.Minute)
			h, other := w.hosts[mover], w.hosts[1-mover]
			h.public = elsewhere
			if restarts {
				h.boot()
			} else {
				h.soften(other.id, h.sas[other.id].Out.SPI)
			}
			w.run(secondDelay + time.Second)
			if other.status(h).Remote != elsewhere || !settled(a, b) {
				t.Errorf("restarts %v: %s has %s at %v", restarts, other.id, h.id, other.status(h).Remote)
			}
		}
	}
}

// Where only the handshake can tell, because the data plane does not know where packets come from, it does.
func TestMoveWithoutTheDataPlane(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	a.public = elsewhere
	a.boot()
	w.run(time.Second)
	pr := b.m.peers["a"].out
	b.m.peers["a"].at = netip.AddrPort{}
	pr.confirmed, pr.from = false, elsewhere
	b.step(func(now time.Duration) []Output {
		return b.m.Event(now, ipsec.Event{Kind: ipsec.SPIConfirmed, Peer: "a", SPI: pr.in.SPI})
	})
	if at := b.sas["a"].Remote; at != elsewhere {
		t.Errorf("a is at %v", at)
	}
}

// Nobody is moved by a replayed init, by a packet on an SA that was replaced or never was, or by an address without a port.
func TestStrangersMoveNobody(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	meet(t, a, b)
	w.run(time.Minute)
	tape := record(w)
	old := b.sas["a"].In[0].SPI
	a.soften("b", a.sas["b"].Out.SPI)
	w.run(time.Second)
	if len(b.sas["a"].In) != 2 {
		t.Fatal("not rekeyed")
	}
	moved := func(host string, spi ipsec.SPI, from netip.AddrPort) {
		b.step(func(now time.Duration) []Output {
			return b.m.Event(now, ipsec.Event{Kind: ipsec.PeerMoved, Peer: host, SPI: spi, Remote: from})
		})
	}
	moved("a", old, elsewhere)
	moved("a", 4711, elsewhere)
	moved("nobody", old, elsewhere)
	moved("a", b.sas["a"].In[0].SPI, netip.AddrPort{})
	moved("a", b.sas["a"].In[0].SPI, netip.AddrPortFrom(elsewhere.Addr(), 0))
	w.run(3 * time.Minute)
	for _, r := range *tape {
		if r.to == b.addr {
			b.receive(elsewhere, r.msg)
		}
	}
	w.run(time.Minute)
	if at := b.status(a).Remote; at != a.addr || b.sas["a"].Remote.IsValid() && b.sas["a"].Remote != a.addr {
		t.Errorf("a is at %v", at)
	}
	moved("a", b.sas["a"].In[0].SPI, elsewhere)
	if at := b.sas["a"].Remote; at != elsewhere {
		t.Errorf("a is at %v", at)
	}
}

// The peer's fact is believed when it changes, and tried in turn with where the peer was seen when nothing comes back.
func TestFactAndSight(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	meet(t, a, b)
	w.run(time.Minute)
	a.public = elsewhere
	a.esp("b", false)
	w.run(time.Second)
	if b.status(a).Remote != elsewhere {
		t.Fatal("not moved")
	}
	tried := map[netip.AddrPort]int{}
	w.tap = func(_, to netip.AddrPort, _ []byte) { tried[to]++ }
	a.down = true
	b.limit("a", b.sas["a"].Out)
	w.run(3 * time.Minute)
	if tried[elsewhere] < 5 || tried[a.addr] < 5 {
		t.Errorf("%v", tried)
	}
	a.public = netip.AddrPort{} // it comes back where its fact says, and can't begin by itself
	a.facts = nil
	a.boot()
	fact := b.fact()
	fact.Remote = netip.AddrPort{}
	a.facts = []Peer{fact}
	a.setPeers()
	if !w.runUntil(w.now+time.Minute, func() bool { return settled(a, b) }) || b.status(a).Remote != a.addr {
		t.Errorf("%+v", b.status(a))
	}
	if a.sas["b"].Remote != b.addr {
		t.Errorf("a has b at %v, though its fact says nothing", a.sas["b"].Remote)
	}
	a.addr = netip.MustParseAddrPort("172.30.0.50:4500")
	b.facts = []Peer{a.fact()}
	b.setPeers()
	if b.status(a).Remote != a.addr || b.sas["a"].Remote.IsValid() {
		t.Errorf("%+v", b.status(a))
	}
}

// Only through a NAT is its mapping kept, once in 20 seconds.
func TestKeepalive(t *testing.T) {
	for _, c := range []struct {
		name   string
		local  []netip.AddrPort
		public netip.AddrPort
		kept   int
	}{
		{"unknown", nil, elsewhere, 0},
		{"no NAT", []netip.AddrPort{netip.MustParseAddrPort("192.0.2.99:4500"), netip.MustParseAddrPort("172.30.0.1:4500")}, netip.AddrPort{}, 0},
		{"NAT", []netip.AddrPort{netip.MustParseAddrPort("172.30.0.1:4500")}, elsewhere, 30},
	} {
		w, a, b := newPairWorld(t, 1)
		a.options.Local, a.public = c.local, c.public
		a.boot()
		meet(t, a, b)
		w.run(10*time.Minute + time.Second)
		if a.kept != c.kept || b.kept != 0 {
			t.Errorf("%s: %d and %d", c.name, a.kept, b.kept)
		}
	}
}

// A host that was restarted does not know where a peer behind a NAT is, nor the SA that it sends on. The peer notices the
// silence and begins.
func TestSilentPeerIsFoundAgain(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	a.public = elsewhere
	a.boot()
	meet(t, a, b)
	w.run(time.Minute)
	silent := func() {
		a.step(func(now time.Duration) []Output {
			return a.m.Event(now, ipsec.Event{Kind: ipsec.PeerSilent, Peer: "b"})
		})
	}
	out := a.sas["b"].Out.SPI
	b.boot()
	traffic(a, b, time.Second)
	w.run(20 * time.Second)
	if settled(a, b) || a.sas["b"].Out.SPI != out {
		t.Fatal("found without a's doing")
	}
	a.m.Silent(0, "nobody")
	silent()
	silent()
	if n := a.m.peers["b"].attempts; n != 1 {
		t.Errorf("%d inits", n)
	}
	if !w.runUntil(w.now+time.Second, func() bool { return settled(a, b) }) || a.sas["b"].Out.SPI == out {
		t.Errorf("%+v", a.status(b))
	}
}
