package handshake

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

func TestIdentityIsChecked(t *testing.T) {
	good := Identity{HostID: "a", Environment: "e", Private: Secret{Bytes: [32]byte{1}}}
	for want, change := range map[string]func(*Identity){
		"host ID has 0 bytes":    func(id *Identity) { id.HostID = "" },
		"host ID has 129 bytes":  func(id *Identity) { id.HostID = strings.Repeat("a", 129) },
		"environment is empty":   func(id *Identity) { id.Environment = "" },
		"private key is missing": func(id *Identity) { id.Private = Secret{} },
		"5 pre-shared keys":      func(id *Identity) { id.PPKs = make([]Secret, 5) },
	} {
		id := good
		change(&id)
		if _, err := NewMachine(id, rand.Reader, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := NewMachine(good, rand.Reader, Options{Ciphers: make([]ipsec.Cipher, 17)}); err == nil {
		t.Error("17 ciphers are accepted")
	}
}

// The longest host IDs and the longest list of ciphers still fit two datagrams.
func TestLongestInit(t *testing.T) {
	w := newWorld(t, 1, cheapSuite, strings.Repeat("a", maxHostID), strings.Repeat("b", maxHostID))
	a, b := w.hosts[0], w.hosts[1]
	for _, h := range w.hosts {
		h.options.Ciphers = make([]ipsec.Cipher, maxCiphers)
		h.options.Ciphers[maxCiphers-1] = ipsec.AES256GCM
		h.ppks = make([]Secret, maxPPKs)
		h.boot()
	}
	a.know(b)
	b.know(a)
	meet(t, a, b)
}

func TestWaitingForFacts(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	c, d := b.fact(), b.fact()
	c.HostID, c.Public = "c", [32]byte{}
	d.HostID, d.Remote = "d", netip.AddrPort{}
	self := a.fact()
	a.facts = []Peer{d, c, self}
	a.disown()
	a.setPeers()
	w.run(time.Minute)
	s := a.m.Status()
	if len(s) != 2 || s[0].State != StateWaiting || !strings.HasPrefix(s[0].Reason, "peer's key unknown yet") ||
		s[1].Reason != "peer's address unknown yet" {
		t.Errorf("%+v", s)
	}
	if outputs := a.m.Confirmed(0, "nobody", 300, netip.AddrPort{}); outputs != nil {
		t.Error(outputs)
	}
}

// What Status says on the way up, in the order in which a reader would see it.
func TestReasons(t *testing.T) {
	w := newWorld(t, 1, cheapSuite, "a", "b")
	a, b := w.hosts[0], w.hosts[1]
	expect := func(h, other *host, state State, reason string) {
		t.Helper()
		if s := h.status(other); s.State != state || !strings.Contains(s.Reason, reason) || reason == "" && s.Reason != "" {
			t.Errorf("%s: %s, %q; want %s, %q", h.id, s.State, s.Reason, state, reason)
		}
	}
	a.boot()
	a.facts = []Peer{b.fact()}
	a.m.SetPeers(0, a.facts)
	expect(a, b, StateStarting, "handshake not begun yet")
	a.setPeers()
	expect(a, b, StateStarting, "waiting for the first answer from 172.30.0.2:4500")
	w.run(1500 * time.Millisecond)
	expect(a, b, StateStarting, "no answer from 172.30.0.2:4500 in 2 attempts")
	w.block = func(_, _ *host, esp bool) bool { return esp }
	b.boot()
	fact := a.fact()
	fact.Remote = netip.AddrPort{}
	b.facts = []Peer{fact}
	b.setPeers()
	w.run(2 * time.Second)
	expect(a, b, StateProving, "waiting for proof: nothing has come in on SA 0x")
	fact.Remote = a.addr
	b.facts = []Peer{fact}
	b.m.SetPeers(w.now-b.booted, b.facts)
	expect(b, a, StateStarting, "waiting for proof: answered its init, nothing has come in on SA 0x")
	w.run(10 * time.Second)
	w.block = nil
	meet(t, a, b)
	expect(a, b, StateUp, "")
	w.block = func(_, _ *host, esp bool) bool { return !esp }
	w.run(maxAge - 40*time.Second)
	expect(a, b, StateUp, "rekeying: no answer from 172.30.0.2:4500 in ")
}

func TestBackOff(t *testing.T) {
	_, a, _ := newPairWorld(t, 1)
	for attempt, longest := range []time.Duration{1: 1, 2: 2, 3: 4, 4: 8, 5: 15, 6: 15, 1000: 15} {
		if longest == 0 {
			continue
		}
		longest *= time.Second
		different := make(map[time.Duration]bool)
		for range 1000 {
			wait := a.m.backOff(attempt)
			different[wait] = true
			if wait > longest || wait < longest*3/4 {
				t.Fatalf("attempt %d waits %v", attempt, wait)
			}
		}
		if len(different) < 900 {
			t.Errorf("attempt %d: %d waits differ", attempt, len(different))
		}
	}
}

// Hundreds of peers that appear at once are begun with in several ticks, all of them soon.
func TestManyPeers(t *testing.T) {
	w := newWorld(t, 1, cheapSuite, "a", "b")
	a := w.hosts[0]
	a.boot()
	for i := range 500 {
		fact := w.hosts[1].fact()
		fact.HostID = fmt.Sprintf("peer %03d", i)
		a.facts = append(a.facts, fact)
	}
	outputs := a.m.SetPeers(0, a.facts)
	due, next := a.m.Tick(0)
	if len(outputs) != 0 || len(due) != 2*initsPerTick || next != 0 {
		t.Errorf("%d and %d outputs, next at %v", len(outputs), len(due), next)
	}
	a.step(nil)
	w.run(time.Millisecond)
	if len(a.m.inits) != 500 || len(a.m.spis) != 500 {
		t.Errorf("%d handshakes begun", len(a.m.inits))
	}
	a.facts = nil
	a.setPeers()
	if n := memory(a.m); n != 0 {
		t.Errorf("%d things left", n)
	}
}

// A random source that fails makes no init, but is tried again.
func TestRandomSourceFails(t *testing.T) {
	w := newWorld(t, 1, cheapSuite, "a", "b")
	a, b := w.hosts[0], w.hosts[1]
	a.boot()
	b.boot()
	source := a.m.rand
	a.m.rand = iotest.ErrReader(errors.New("entropy is out"))
	a.know(b)
	w.run(5 * time.Second)
	if s := a.status(b); !strings.Contains(s.Reason, "entropy is out") || len(a.m.spis)+len(a.m.inits) != 0 {
		t.Errorf("%+v", s)
	}
	a.m.rand = zeros{}
	w.run(time.Minute)
	a.m.rand = source
	b.know(a)
	meet(t, a, b)
	calm(w)
}

// zeros is a source that always gives the same.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// SPIs are drawn again when they are reserved or taken.
func TestSPIs(t *testing.T) {
	_, a, _ := newPairWorld(t, 1)
	a.m.rand = bytesReader([]byte{0, 0, 0, 255, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 1, 2})
	first, err1 := a.m.newSPI(0)
	second, err2 := a.m.newSPI(257)
	if first != 256 || second != 258 || err1 != nil || err2 != nil {
		t.Error(first, second, err1, err2)
	}
}

// A peer that moved is tried at its new address at once.
func TestAddressChanges(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	old := b.addr
	b.addr = netip.MustParseAddrPort("172.30.0.99:4500")
	b.facts = nil
	w.block = func(from, _ *host, _ bool) bool { return from == b && b.addr == old }
	w.run(10 * time.Minute)
	a.facts = []Peer{b.fact()}
	began := w.now
	a.setPeers()
	if !w.runUntil(w.now+time.Second, func() bool { return settled(a, b) }) {
		t.Errorf("not up after %v: %+v", w.now-began, a.status(b))
	}
}
