package handshake

import (
	"net/netip"
	"testing"
	"time"
)

// A restarted host answers an init of before its restart, so with a generation that is not above that of the pair which it
// began and forgot. Late packets on that one must not put the other host back on it.
func TestLatePacketsOfBeforeARestart(t *testing.T) {
	for _, tooLate := range []bool{true, false} {
		w := newWorld(t, 1, cheapSuite, "a", "b")
		a, b := w.hosts[0], w.hosts[1]
		var sent []recorded
		w.tap = func(from, to netip.AddrPort, msg []byte) { sent = append(sent, recorded{from, to, msg}) }
		w.block = func(_, _ *host, _ bool) bool { return true }
		// deliver hands over what a host has sent of one type, and forgets the rest.
		deliver := func(from, to *host, kind byte) {
			w.run(time.Millisecond)
			messages := sent
			sent = nil
			for _, r := range messages {
				if r.from == from.addr && r.msg[0] == kind {
					to.receive(from.addr, r.msg)
				}
			}
		}
		a.facts, b.facts = []Peer{b.fact()}, []Peer{a.fact()}
		b.boot()
		early := sent
		sent = nil
		a.boot()
		deliver(a, b, typeInit)
		deliver(b, a, typeResponse)
		forgotten := *a.sas["b"].Out
		a.boot()
		sent = early
		deliver(b, a, typeInit)
		deliver(a, b, typeResponse)
		if p := b.m.peers["a"]; len(p.pairs) != 2 || p.out != p.pairs[1] {
			t.Fatal("not the case that is tested")
		}
		own := *b.sas["a"].Out
		a.open(b.addr, own, false) // and a sends on it from now on
		answer := *a.sas["b"].Out
		if tooLate {
			b.open(a.addr, answer, false)
			b.open(a.addr, forgotten, false)
			if out := b.sas["a"].Out; out == nil || out.SPI != own.SPI || !settled(a, b) {
				t.Errorf("b went from %v to %v, %v", own.SPI, out, b.status(a))
			}
		} else { // it can't be known for late yet
			b.open(a.addr, forgotten, false)
			b.open(a.addr, answer, false)
			if out := b.sas["a"].Out; out != nil {
				t.Errorf("b stays on %v", out.SPI)
			}
		}
		b.open(a.addr, forgotten, false)
		w.run(10 * time.Minute) // far beyond any grace
		if find(b.sas["a"].In, answer.SPI) == nil && b.sas["a"].Out == nil {
			t.Error("b dropped the pair that a sends on")
		}
		if find(b.sas["a"].In, forgotten.SPI) != nil {
			t.Error("the forgotten pair stays for ever")
		}
		w.block, w.tap = nil, nil
		meet(t, a, b)
		calm(w)
	}
}

// In handshakes that crossed, without a restart, nothing is buried: the higher pair is used, whatever came first.
func TestCrossedPairsAreNotBuried(t *testing.T) {
	for seed := range uint64(300) {
		w := newWorld(t, seed, cheapSuite, "a", "b")
		a, b := w.hosts[0], w.hosts[1]
		w.delay, w.double = 200*time.Millisecond, 0.2
		a.facts, b.facts = []Peer{b.fact()}, []Peer{a.fact()}
		a.boot()
		b.boot()
		meet(t, a, b)
		w.run(time.Minute)
		for _, h := range w.hosts {
			for _, p := range h.m.peers {
				for _, q := range p.pairs {
					if q.dead {
						t.Errorf("seed %d: %s buried %v", seed, h.id, q.rank)
					}
				}
			}
		}
	}
}
