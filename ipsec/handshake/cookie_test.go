package handshake

import (
	"bytes"
	"net/netip"
	"testing"
	"time"
)

// A cookie is good for its address and for two to four minutes.
func TestCookieLife(t *testing.T) {
	g := newGate(bytesReader(bytes.Repeat([]byte("0123456789abcdef"), 100)))
	from, other := netip.MustParseAddrPort("192.0.2.1:4500"), netip.MustParseAddrPort("192.0.2.1:4501")
	key := macKey([]byte("public"))
	for _, age := range []time.Duration{0, cookieLife, 2*cookieLife - 1} {
		now := time.Duration(1000) * time.Hour
		g.secrets = [2][]byte{}
		g.rand = newRandom(7)
		d := splitWith(g.cookie(now, from), header{kind: typeInitCookie}, make([]byte, 1500), key)[1]
		if !g.proves(now+age, from, d) || g.proves(now+age, other, d) {
			t.Errorf("after %v", age)
		}
		d[40] ^= 1
		if g.proves(now+age, from, d) {
			t.Error("proves a changed one")
		}
		d[40] ^= 1
		g.proves(now+3*cookieLife, from, d)
		if g.proves(now+4*cookieLife, from, d) {
			t.Error("proves for ever")
		}
	}
	g.secrets, g.rand = [2][]byte{}, bytesReader(nil)
	if g.cookie(0, from) != nil || g.proves(0, from, make([]byte, 100)) {
		t.Error("a cookie without randomness")
	}
}

// While a handshake is unconfirmed, a further init makes no second pair: it is answered with a cookie, and the next one,
// which carries it, is answered.
func TestFurtherInitNeedsACookie(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	meet(t, a, b)
	w.run(time.Minute)                                       // the pair that lost when both began is gone
	w.block = func(_, _ *host, esp bool) bool { return esp } // nothing is confirmed
	tape := record(w)
	a.boot()
	w.run(500 * time.Millisecond)
	p := b.m.peers["a"]
	if !p.pairs[0].pending() {
		t.Fatal("not pending")
	}
	a.boot()
	w.run(100 * time.Millisecond)
	kinds := map[byte]int{}
	for _, r := range *tape {
		kinds[r.msg[0]]++
	}
	if kinds[typeCookie] != 1 || kinds[typeInitCookie] != 2 || b.m.Drops()["unconfirmed"] != 1 || a.sas["b"].Out == nil {
		t.Errorf("%v, %v", kinds, b.m.Drops())
	}
	// A cookie that is sent again, or changed, or for another handshake, does nothing.
	for _, r := range *tape {
		if r.msg[0] == typeCookie {
			attempts := a.m.peers["b"].attempts
			a.receive(r.from, r.msg)
			a.receive(r.from, r.msg[:60])
			if a.m.peers["b"].attempts != attempts || a.m.Drops()["late-cookie"] != 2 {
				t.Error(a.m.Drops())
			}
		}
	}
	w.block = nil
	meet(t, a, b)
}

// Whoever replays recorded inits from addresses of others leaves one unconfirmed pair at most.
func TestReplayedInitsDoNotFillThePending(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	tape := record(w)
	for range 10 {
		meet(t, a, b)
		a.boot()
	}
	meet(t, a, b)
	w.run(5 * time.Minute) // long forgotten
	w.tap = nil
	for _, r := range *tape {
		if r.to == b.addr {
			b.receive(stranger(9), r.msg)
		}
	}
	pending := 0
	for _, q := range b.m.peers["a"].pairs {
		if q.pending() {
			pending++
		}
	}
	if pending > 1 || !settled(a, b) {
		t.Errorf("%d pending, drops %v", pending, b.m.Drops())
	}
}

// A forged cookie is found out; a real one that comes after it is taken.
func TestForgedCookie(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	meet(t, a, b)
	b.down = true
	a.soften("b", a.sas["b"].Out.SPI)
	w.run(100 * time.Millisecond)
	p := a.m.peers["b"]
	index := p.init.index
	out := b.m.ask(time.Minute, a.addr, header{sender: index})
	good := out[0].(Send).Msg
	bad := bytes.Clone(good)
	bad[len(bad)-1] ^= 1
	a.receive(b.addr, bad)
	if p.cookie != nil || a.m.Drops()["unopened"] != 1 || p.init.index != index {
		t.Error("taken")
	}
	a.receive(b.addr, good)
	if p.cookie == nil || p.init.index == index {
		t.Error("refused")
	}
	again := b.m.ask(time.Minute, a.addr, header{sender: p.init.index})[0].(Send).Msg
	index = p.init.index
	a.receive(b.addr, again)
	if p.init.index != index {
		t.Error("a second cookie makes another init at once")
	}
}

// News of where else a peer may be begins the count of attempts anew, also between an init and the cookie that it is answered with.
func TestACookieAfterNewsOfAddresses(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	meet(t, a, b)
	w.run(time.Minute)
	w.block = func(_, _ *host, esp bool) bool { return esp } // so that the next init is asked for a cookie
	a.boot()
	w.run(500 * time.Millisecond)
	var cookie recorded
	w.tap = func(from, to netip.AddrPort, msg []byte) {
		if msg[0] == typeCookie {
			cookie = recorded{from, to, bytes.Clone(msg)}
		}
	}
	w.block = func(from, _ *host, esp bool) bool { return esp || from == b }
	a.boot()
	w.run(100 * time.Millisecond)
	if cookie.msg == nil {
		t.Fatal("no cookie was sent")
	}
	p := a.m.peers["b"]
	a.told(b, elsewhere)
	if p.attempts != 0 {
		t.Fatalf("%d attempts after the news", p.attempts)
	}
	a.receive(cookie.from, cookie.msg)
	if p.cookie == nil || p.attempts < 0 {
		t.Fatalf("cookie %x, %d attempts", p.cookie, p.attempts)
	}
	w.tap, w.block = nil, nil
	meet(t, a, b)
}
