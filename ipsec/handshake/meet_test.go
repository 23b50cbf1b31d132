package handshake

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// meet runs until both hosts are up.
func meet(t *testing.T, a, b *host) {
	t.Helper()
	if !a.w.runUntil(a.w.now+30*time.Second, func() bool { return settled(a, b) }) {
		t.Fatalf("not up:\n%+v\n%+v", a.status(b), b.status(a))
	}
}

// What crosses the wire when two hosts meet is pinned: a change of this hash is a change of the protocol, and needs a new
// version number.
func TestTwoHostsMeet(t *testing.T) {
	w := newWorld(t, 1, fixedSuite, "a", "b")
	a, b := w.hosts[0], w.hosts[1]
	transcript := sha256.New()
	var lengths []int
	w.tap = func(_, _ netip.AddrPort, msg []byte) {
		transcript.Write(msg)
		lengths = append(lengths, len(msg))
	}
	a.boot()
	b.boot()
	fact := a.fact()
	fact.Remote = netip.AddrPort{} // b can answer, but not begin
	b.facts = []Peer{fact}
	b.setPeers()
	a.know(b)
	meet(t, a, b)
	const golden = "32d766c124833df214f58d724587a4551835ad4a10a4906c1ce0c0a557c305e4"
	if got := hex.EncodeToString(transcript.Sum(nil)); got != golden {
		t.Errorf("transcript %s of %v", got, lengths)
	}
	s := a.status(b)
	if s.Observed != a.addr || s.Cipher != ipsec.AES256GCM || s.In < minSPI || s.Out < minSPI || s.Reason != "" || s.LastHandshake.IsZero() {
		t.Errorf("status %+v", s)
	}
	if w.now > time.Second {
		t.Errorf("took %v of virtual time", w.now)
	}
}

// The first packet proves the pair to the responder, whose own packet proves it to the initiator: no probe timer is waited for.
func TestUpWithinTwoRoundTrips(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	w.delay = 10 * time.Millisecond
	meet(t, a, b)
	if w.now > 50*time.Millisecond {
		t.Errorf("took %v", w.now)
	}
}

func TestCrossingHandshakes(t *testing.T) {
	for seed := range uint64(200) {
		w := newWorld(t, seed, cheapSuite, "a", "b")
		a, b := w.hosts[0], w.hosts[1]
		w.delay = 50 * time.Millisecond
		a.facts, b.facts = []Peer{b.fact()}, []Peer{a.fact()}
		a.boot()
		b.boot()
		answered := 0
		w.tap = func(_, _ netip.AddrPort, msg []byte) {
			if msg[0] == typeResponse {
				answered++
			}
		}
		meet(t, a, b)
		w.run(time.Second)
		both := answered == 2
		if pa, pb := a.m.peers["b"], b.m.peers["a"]; both && pa.init == nil && len(pa.pairs) == 2 && !pa.out.begunHere && pb.out.rank.smaller {
			t.Errorf("seed %d: the pair that the larger host ID began stays", seed)
		}
		w.run(2 * time.Minute)
		if !settled(a, b) || len(a.sas["b"].In) != 1 || len(b.sas["a"].In) != 1 {
			t.Errorf("seed %d: the other pair did not go: %v %v", seed, a.sas, b.sas)
		}
	}
}

// Both responses arrive, so both hosts have both pairs: the one that the smaller host ID began must win on both sides.
func TestCrossedAndBothCompleted(t *testing.T) {
	w := newWorld(t, 3, cheapSuite, "a", "b")
	a, b := w.hosts[0], w.hosts[1]
	w.delay = time.Millisecond
	w.block = func(_, _ *host, esp bool) bool { return esp } // no packet decides too early
	a.facts, b.facts = []Peer{b.fact()}, []Peer{a.fact()}
	a.boot()
	b.boot()
	w.run(100 * time.Millisecond)
	if pa, pb := a.m.peers["b"], b.m.peers["a"]; len(pa.pairs) != 2 || len(pb.pairs) != 2 || !pa.out.begunHere || !pb.out.begunHere {
		t.Fatalf("not crossed: %d and %d pairs", len(pa.pairs), len(pb.pairs))
	}
	w.block = nil
	meet(t, a, b)
	if out := a.m.peers["b"].out; !out.rank.smaller || !out.begunHere {
		t.Errorf("a sends on %+v", out.rank)
	}
	if out := b.m.peers["a"].out; !out.rank.smaller || out.begunHere {
		t.Errorf("b sends on %+v", out.rank)
	}
}

func TestEitherHostFirst(t *testing.T) {
	for _, first := range []int{0, 1} {
		w := newWorld(t, 5, cheapSuite, "a", "b")
		early, late := w.hosts[first], w.hosts[1-first]
		early.facts, late.facts = []Peer{late.fact()}, []Peer{early.fact()}
		early.boot()
		w.run(10 * time.Minute)
		s := early.status(late)
		if s.State != StateStarting || s.Attempts < 30 || !strings.Contains(s.Reason, "no answer from "+late.addr.String()+" in ") {
			t.Errorf("alone: %+v", s)
		}
		late.boot()
		began := w.now
		meet(t, early, late)
		if w.now-began > time.Second {
			t.Errorf("the late host took %v", w.now-began)
		}
	}
}

func TestLateFact(t *testing.T) {
	w := newWorld(t, 5, cheapSuite, "a", "b")
	a, b := w.hosts[0], w.hosts[1]
	a.boot()
	b.boot()
	b.know(a)
	w.run(time.Minute)
	if a.asked == 0 || a.asked > 30 || a.m.Drops()["unknown-key"] == 0 {
		t.Errorf("asked for a snapshot %d times, drops %v", a.asked, a.m.Drops())
	}
	a.know(b)
	meet(t, a, b)

	// A host that was made anew under the same ID has another key, which its peers learn late.
	b.secret.Bytes[0] ^= 1
	b.boot()
	asked := a.asked
	w.run(time.Minute)
	if a.asked == asked || settled(a, b) {
		t.Error("a took the new key for the old one")
	}
	a.facts = []Peer{b.fact()}
	a.setPeers()
	meet(t, a, b)
}

func TestCiphers(t *testing.T) {
	aes, chacha := ipsec.AES256GCM, ipsec.ChaCha20Poly1305
	for _, c := range []struct {
		a, b []ipsec.Cipher
		want ipsec.Cipher
	}{
		{nil, nil, aes},
		{[]ipsec.Cipher{chacha, aes}, nil, chacha},
		{nil, []ipsec.Cipher{chacha, aes}, chacha},
		{[]ipsec.Cipher{99, aes}, nil, aes},
		{[]ipsec.Cipher{aes}, []ipsec.Cipher{chacha, aes}, aes},
		{[]ipsec.Cipher{aes}, []ipsec.Cipher{chacha}, 0},
	} {
		w := newWorld(t, 1, cheapSuite, "a", "b")
		a, b := w.hosts[0], w.hosts[1]
		a.options.Ciphers, b.options.Ciphers = c.a, c.b
		a.boot()
		b.boot()
		a.know(b)
		b.know(a)
		w.run(10 * time.Second)
		if got := a.status(b); got.Cipher != c.want {
			t.Errorf("%v and %v give %v (%s)", c.a, c.b, got.Cipher, got.Reason)
		} else if c.want == 0 && !strings.Contains(got.Reason, "no cipher in common") {
			t.Errorf("reason %q", got.Reason)
		}
	}
}
