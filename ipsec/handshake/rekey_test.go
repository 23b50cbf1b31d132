package handshake

import (
	"net/netip"
	"testing"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// An SA is replaced before it is an hour old, so that at every moment there is one in use that is accepted.
func TestHourlyRekeyMakesBeforeItBreaks(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	meet(t, a, b)
	w.run(time.Second)
	began, last := map[ipsec.SPI]time.Duration{}, time.Duration(0)
	jitters := map[time.Duration]bool{}
	for range 3 * 24 * 60 * 4 {
		w.run(15 * time.Second)
		if err := joined(a, b); err != nil {
			t.Fatalf("at %v: %v", w.now, err)
		}
		out := a.m.peers["b"].out
		if _, ok := began[out.out.SPI]; !ok {
			began[out.out.SPI] = w.now
			jitters[w.now-last], last = true, w.now
		}
		if !out.begunHere && len(began) > 1 {
			t.Errorf("at %v: rekeyed by the larger host ID", w.now)
		}
		if w.now-began[out.out.SPI] > rekeyAge+15*time.Second {
			t.Fatalf("SA in use for %v", w.now-began[out.out.SPI])
		}
	}
	if n := len(began); n < 72 || n > 82 {
		t.Errorf("%d SAs in three days", n)
	}
	if len(jitters) < 10 {
		t.Errorf("only %d different ages", len(jitters))
	}
	if n := len(a.m.spis) + len(b.m.spis); n > 4 {
		t.Errorf("%d SPIs held", n)
	}
}

// The smaller host ID replaces the pair; when it can't, the other does so five seconds later.
func TestRekeyBySecondHost(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	meet(t, a, b)
	w.run(time.Minute)
	fact := b.fact()
	fact.Remote = netip.AddrPort{} // a can answer, but not begin
	a.facts = []Peer{fact}
	a.setPeers()
	p := b.m.peers["a"]
	old := p.out
	if wait := p.startAt - (p.rekeyAt(old) - secondDelay); wait != secondDelay || p.startAt-old.began > rekeyAge+secondDelay {
		t.Errorf("b waits for %v", wait)
	}
	if first := a.m.peers["b"].rekeyAt(a.m.peers["b"].out); p.startAt-first < secondDelay-time.Second || p.startAt-first > secondDelay+time.Second {
		t.Errorf("b begins %v after a would", p.startAt-first)
	}
	w.run(rekeyAge)
	if p.out == old || !p.out.begunHere || !settled(a, b) {
		t.Errorf("not rekeyed: %+v", b.status(a))
	}
}

// soften makes the data plane report that an SA has carried much.
func (h *host) soften(peer string, spi ipsec.SPI) {
	h.step(func(now time.Duration) []Output {
		return h.m.Event(now, ipsec.Event{Kind: ipsec.SPISoftLimit, Peer: peer, SPI: spi})
	})
}

// A soft limit begins one handshake, whichever host reports it and for whichever direction; others begin none.
func TestSoftLimit(t *testing.T) {
	for of := range 2 {
		for _, inbound := range []bool{false, true} {
			w, a, b := newPairWorld(t, 1)
			meet(t, a, b)
			w.run(time.Minute)
			h, other := w.hosts[of], w.hosts[1-of]
			set := h.sas[other.id]
			spi := set.Out.SPI
			if inbound {
				spi = set.In[0].SPI
			}
			h.soften("nobody", spi)
			h.soften(other.id, 300)
			w.run(time.Minute)
			if h.sas[other.id].Out.SPI != set.Out.SPI {
				t.Error("rekeyed for another SA")
			}
			h.soften(other.id, spi)
			h.soften(other.id, spi)
			if h.sas[other.id].Out.SPI != set.Out.SPI {
				t.Error("the SA is not used any more")
			}
			w.run(secondDelay + time.Second)
			if h.sas[other.id].Out.SPI == set.Out.SPI || !settled(a, b) || len(h.m.peers[other.id].pairs) != 2 {
				t.Errorf("host %d, inbound %v: %+v", of, inbound, h.status(other))
			}
		}
	}
}

// A thousand rekeys under traffic in both directions, on a network that reorders, and in the second run one that loses
// and doubles handshakes: every packet that was sent is opened.
func TestThousandRekeysLoseNothing(t *testing.T) {
	for _, loss := range []float64{0, 0.2} {
		w, a, b := newPairWorld(t, 1)
		w.delay = 20 * time.Millisecond
		meet(t, a, b)
		w.run(time.Minute)
		w.handshakeLoss, w.double = loss, loss
		sent := 0
		var stream func()
		stop := false
		stream = func() {
			if !stop {
				a.esp("b", false)
				b.esp("a", false)
				sent += 2
				w.after(10*time.Millisecond, stream)
			}
		}
		stream()
		keys := map[ipsec.SPI]bool{}
		for len(keys) < 1000 {
			out := a.sas["b"].Out.SPI
			keys[out] = true
			w.hosts[len(keys)%2].soften(w.hosts[1-len(keys)%2].id, out)
			if !w.runUntil(w.now+10*time.Minute, func() bool { return a.sas["b"].Out.SPI != out && settled(a, b) }) {
				t.Fatalf("rekey %d: %+v\n%+v\n%v\n%v", len(keys), a.status(b), b.status(a), a.m.Drops(), b.m.Drops())
			}
		}
		stop = true
		w.run(time.Second)
		if w.unopened != 0 || a.packets+b.packets < sent {
			t.Errorf("%d packets sent, %d opened, %d not", sent, a.packets+b.packets, w.unopened)
		}
	}
}
