package handshake

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

func TestOneRestarts(t *testing.T) {
	for seed := range uint64(50) {
		w, a, b := newPairWorld(t, seed)
		meet(t, a, b)
		old := a.sas["b"]
		b.boot()
		began := w.now
		meet(t, a, b)
		if w.now-began > time.Second {
			t.Errorf("seed %d: took %v", seed, w.now-began)
		}
		if a.sas["b"].Out.SPI == old.Out.SPI {
			t.Error("still on the old SA")
		}
		w.run(time.Minute)
		if find(a.sas["b"].In, old.In[0].SPI) != nil {
			t.Error("the old inbound SA stays for ever")
		}
	}
}

func TestBothRestart(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	for range 20 {
		meet(t, a, b)
		a.boot()
		b.boot()
	}
	meet(t, a, b)
	w.run(2 * time.Minute)
	calm(w)
}

// A host that was restarted and can't begin by itself hears ESP that it does not know, and begins with whoever sent it.
func TestUnknownSPIBeginsAHandshake(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	meet(t, a, b)
	w.run(time.Second)
	inits := func() int { return a.m.peers["b"].attempts }
	unknown := func() {
		a.step(func(now time.Duration) []Output {
			return a.m.Event(now, ipsec.Event{Kind: ipsec.UnknownSPI, SPI: 4711, Remote: b.addr})
		})
	}
	unknown()
	if inits() != 1 {
		t.Fatal("no handshake begun")
	}
	meet(t, a, b)
	w.run(time.Second)
	for range 1000 {
		unknown()
	}
	if inits() != 0 {
		t.Error("more than one handshake in ten seconds")
	}
	a.step(func(now time.Duration) []Output { return a.m.UnknownSPI(now, w.hosts[0].addr) })
	w.run(time.Minute)
	unknown()
	if inits() != 1 {
		t.Error("no second handshake a minute later")
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name    string
		of      int // host
		inbound bool
		within  time.Duration
	}{
		{"outbound of the smaller", 0, false, time.Second},
		{"inbound of the smaller", 0, true, time.Second},
		{"outbound of the larger", 1, false, time.Second},
		{"inbound of the larger", 1, true, 6 * time.Second},
	} {
		w, a, b := newPairWorld(t, 1)
		meet(t, a, b)
		w.run(time.Minute)
		h, other := w.hosts[c.of], w.hosts[1-c.of]
		set := h.sas[other.id]
		began := w.now
		if c.inbound {
			h.limit(other.id, &set.In[0])
			if len(h.sas[other.id].In) != 0 {
				t.Errorf("%s: still accepted", c.name)
			}
		} else {
			h.limit(other.id, set.Out)
			if h.sas[other.id].Out != nil {
				t.Errorf("%s: still used", c.name)
			}
		}
		h.limit("nobody", &set.In[0])
		h.limit(other.id, &ipsec.SA{SPI: 300})
		if !w.runUntil(w.now+c.within, func() bool { return settled(a, b) && h.sas[other.id].In[0].SPI != set.In[0].SPI }) {
			t.Errorf("%s: no new pair within %v: %+v", c.name, w.now-began, h.status(other))
		}
	}
}

// An initiator that hears nothing stops sending before the responder stops listening.
func TestUnconfirmedPairIsGivenUpInTime(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	meet(t, a, b)
	w.block = func(_, _ *host, esp bool) bool { return esp }
	a.boot()
	w.runUntil(w.now+time.Second, func() bool { return a.sas["b"].Out != nil })
	began, out := w.now, a.sas["b"].Out.SPI
	for _, h := range w.hosts { // no further inits
		h.facts[0].Remote = netip.AddrPort{}
		h.setPeers()
	}
	holds := func() bool { return find(b.sas["a"].In, out) != nil }
	w.runUntil(began+time.Minute, func() bool { return a.sas["b"].Out == nil })
	if lasted := w.now - began; !holds() || lasted > unconfirmedLife || lasted < unconfirmedLife-time.Second {
		t.Errorf("given up after %v, the responder holds it: %v", lasted, holds())
	}
	w.runUntil(began+time.Minute, func() bool { return !holds() })
	if lasted := w.now - began; lasted > pendingLife {
		t.Errorf("the responder holds it for %v", lasted)
	}
}

// A peer that lost everything and can't begin answers with the generation that it is offered.
func TestRestartedPeerOnlyAnswers(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	for range 3 {
		meet(t, a, b)
		a.boot()
	}
	meet(t, a, b)
	w.run(unknownEvery) // what a has heard since its own restarts is long ago
	b.facts[0].Remote = netip.AddrPort{}
	b.boot()
	old := a.sas["b"].Out
	b.open(a.addr, *old, false)
	a.step(func(now time.Duration) []Output { return a.m.UnknownSPI(now, b.addr) })
	if !w.runUntil(w.now+time.Second, func() bool { return settled(a, b) && a.sas["b"].Out.SPI != old.SPI }) {
		t.Errorf("not up: %+v", a.status(b))
	}
}

func TestOverAgeIsDropped(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	meet(t, a, b)
	w.run(time.Minute)
	w.block = func(_, _ *host, esp bool) bool { return !esp } // no handshake gets through
	w.run(maxAge - 2*time.Minute)
	if s := a.status(b); s.State != StateUp || a.sas["b"].Out == nil {
		t.Errorf("a minute early: %+v", s)
	}
	w.run(90 * time.Second)
	s := a.status(b)
	if a.sas["b"].Out != nil || b.sas["a"].Out != nil || !strings.Contains(s.Reason, "no answer from") {
		t.Errorf("a day later: %+v", s)
	}
	w.run(2 * time.Minute)
	if len(a.sas["b"].In)+len(b.sas["a"].In) != 0 {
		t.Error("inbound SAs are kept for ever")
	}
	w.block = nil
	meet(t, a, b)
}
