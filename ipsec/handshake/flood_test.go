package handshake

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// flood sends forged inits to a host in virtual time: good MACs (the attacker has read the host's public key in the facts),
// first parts whose content is noise.
type flood struct {
	w     *world
	to    *host
	perMS int // datagrams in each millisecond
	from  func(n uint32) netip.AddrPort
	sent  uint32
	stop  bool
}

func stranger(n uint32) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, byte(n >> 16), byte(n >> 8), byte(n)}), 4500)
}

func (f *flood) run() {
	if f.stop {
		return
	}
	for range f.perMS {
		f.sent++
		f.to.flooded(f.from(f.sent), forged(f.to.m, f.sent))
	}
	f.w.after(time.Millisecond, f.run)
}

// forged makes the first part of an init with a good MAC.
func forged(m *Machine, n uint32) []byte {
	d := make([]byte, maxDatagram)
	header{kind: typeInit, parts: 2, sender: n}.put(d)
	binary.BigEndian.PutUint32(d[headerLen:], n)
	copy(d[macOffset:], mac(macKey(m.static.Public), d))
	return d
}

// flooded is receive without a Tick after each message, which the Loop does not do either.
func (h *host) flooded(from netip.AddrPort, msg []byte) {
	h.do(h.m.Receive(h.w.now-h.booted, from, msg))
}

// 100,000 forged inits a second, from invented addresses and from the peer's own, do not keep hosts from meeting, rekeying
// and staying up, and hardly any of them is looked into.
func TestFloodDoesNotStopHandshakes(t *testing.T) {
	w := newWorld(t, 1, cheapSuite, "a", "b", "c")
	a, b, c := w.hosts[0], w.hosts[1], w.hosts[2]
	for _, h := range w.hosts {
		h.boot()
	}
	a.know(b)
	b.know(a, c)
	meet(t, a, b)
	w.run(time.Second)
	f := &flood{w: w, to: b, perMS: 100, from: func(n uint32) netip.AddrPort {
		if n%16 == 0 {
			return a.addr
		}
		return stranger(n)
	}}
	f.run()
	w.run(200 * time.Millisecond)
	before := w.now
	c.know(b) // a host that is new
	a.soften("b", a.sas["b"].Out.SPI)
	old := a.sas["b"].Out.SPI
	if !w.runUntil(w.now+time.Second, func() bool { return settled(b, c) && settled(a, b) && a.sas["b"].Out.SPI != old }) {
		t.Errorf("not within a second:\n%+v\n%+v", b.status(c), a.status(b))
	}
	t.Logf("met and rekeyed within %v under a flood", w.now-before)
	a.boot() // and one that was restarted
	if !w.runUntil(w.now+time.Second, func() bool { return settled(a, b) }) {
		t.Errorf("not within a second: %+v", a.status(b))
	}
	f.stop = true
	d := b.m.Drops()
	if looked := d["unopened"] + d["payload"]; looked > 2*loadBudget || d["load"] < uint64(f.sent)*9/10 {
		t.Errorf("%d of %d looked into, %v", looked, f.sent, d)
	}
	if n := memory(b.m); n > 200 {
		t.Errorf("%d things held", n)
	}
	// The load is forgotten two quiet seconds later: no cookie is asked for.
	w.run(3 * time.Second)
	load := b.m.Drops()["load"]
	c.boot()
	if !w.runUntil(w.now+time.Second, func() bool { return settled(b, c) }) || b.m.Drops()["load"] != load {
		t.Errorf("%+v %v", c.status(b), b.m.Drops())
	}
}

// Cookies go to as many strangers as the budget has, to peers always; both are shorter than what they answer.
func TestCookiesDoNotMultiply(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	meet(t, a, b)
	w.run(time.Second)
	answers := 0
	w.tap = func(from, to netip.AddrPort, msg []byte) {
		if answers++; len(msg) != headerLen+cookieSize || msg[0] != typeCookie {
			t.Errorf("%d bytes", len(msg))
		}
	}
	for n := range uint32(3 * cookieBudget) {
		b.flooded(stranger(n), forged(b.m, n))
	}
	if answers != cookieBudget {
		t.Errorf("%d cookies for strangers", answers)
	}
	b.flooded(a.addr, forged(b.m, 7))
	if answers != cookieBudget+1 {
		t.Error("no cookie for the peer")
	}
	short := split(header{kind: typeInit}, make([]byte, 100), macKey(b.m.static.Public))[0]
	b.flooded(a.addr, short)
	last := forged(b.m, 8)
	last[2] = 1
	copy(last[macOffset:], mac(macKey(b.m.static.Public), last))
	b.flooded(a.addr, last)
	if answers != cookieBudget+1 {
		t.Error("a cookie for a short datagram, or for a second part")
	}
}

// An address that has proved itself gets no further than its budget, and all of them no further than theirs.
func TestProvenFlood(t *testing.T) {
	_, a, b := newPairWorld(t, 1)
	now, sent := time.Hour, uint32(0)
	send := func(from netip.AddrPort) {
		sent++
		cookie := b.m.gate.cookie(now, from)
		for _, d := range splitWith(cookie, header{kind: typeInitCookie, sender: sent}, make([]byte, 1500), macKey(b.m.static.Public)) {
			b.m.Receive(now, from, d)
		}
	}
	for n := range uint32(loadBudget) {
		b.m.Receive(now, stranger(n), forged(b.m, n))
	}
	for range 100 {
		send(stranger(1 << 20))
	}
	looked := func() int { return int(b.m.drops["unopened"]) }
	if looked() != sourceBudget/2 {
		t.Errorf("%d of one address looked into", looked())
	}
	for i := range uint32(3000) {
		send(stranger(i<<8 | 1))
	}
	if looked() > strangersBudget/2 || looked() < strangersBudget/4 {
		t.Errorf("%d looked into", looked())
	}
	before := looked()
	send(a.addr)
	if looked() != before+1 {
		t.Error("the peer is shut out")
	}
}
