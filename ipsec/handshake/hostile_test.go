package handshake

import (
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// recorded is a datagram that crossed the network.
type recorded struct {
	from, to netip.AddrPort
	msg      []byte
}

func record(w *world) *[]recorded {
	var all []recorded
	w.tap = func(from, to netip.AddrPort, msg []byte) {
		all = append(all, recorded{from, to, append([]byte(nil), msg...)})
	}
	return &all
}

// memory is how many things a machine holds.
func memory(m *Machine) int {
	n := len(m.spis) + len(m.inits) + len(m.seen.young) + len(m.seen.old) + len(m.parts.peers) + len(m.parts.strangers) + len(m.drops)
	for _, p := range m.peers {
		n += len(p.pairs)
	}
	return n
}

// Whoever recorded handshakes may send them again for ever, from anywhere: the pair in use stays, and nothing grows.
func TestReplayForEver(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	tape := record(w)
	for range 12 { // many different handshakes
		meet(t, a, b)
		b.boot()
	}
	meet(t, a, b)
	w.run(3 * time.Minute)
	w.tap = nil
	outA, outB := a.sas["b"].Out.SPI, b.sas["a"].Out.SPI
	largest := 0
	attacker := netip.MustParseAddrPort("203.0.113.1:4500")
	for range 300 {
		for _, r := range *tape {
			for _, from := range []netip.AddrPort{r.from, attacker} {
				w.at(r.to).receive(from, r.msg)
			}
		}
		w.run(7 * time.Second)
		largest = max(largest, memory(a.m), memory(b.m))
		if a.sas["b"].Out.SPI != outA || b.sas["a"].Out.SPI != outB || !settled(a, b) {
			t.Fatal("the pair in use was disturbed")
		}
	}
	if largest > 150 {
		t.Errorf("%d things held", largest)
	}
	w.run(3 * time.Minute)
	if n := max(memory(a.m), memory(b.m)); n > 15 {
		t.Errorf("%d things still held", n)
	}
	if a.m.Drops()["replay"] == 0 || a.m.Drops()["late-response"] == 0 {
		t.Error(a.m.Drops())
	}
}

// A replay within a minute costs nothing but a look-up.
func TestReplayIsDroppedBeforeComputing(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	meet(t, a, b)
	tape := record(w)
	a.boot()
	meet(t, a, b)
	b.m.suite = suite{} // any computation would panic
	for _, r := range *tape {
		if r.to == b.addr && r.msg[0] == typeInit {
			b.receive(r.from, r.msg)
		}
	}
	if b.m.Drops()["replay"] != 1 {
		t.Error(b.m.Drops())
	}
}

func TestWrongEnvironment(t *testing.T) {
	w := newWorld(t, 1, cheapSuite, "a", "b")
	a, b := w.hosts[0], w.hosts[1]
	b.env = "other"
	a.boot()
	b.boot()
	a.know(b)
	b.know(a)
	w.run(5 * time.Minute)
	if a.sas["b"].Out != nil || b.sas["a"].Out != nil || a.packets+b.packets != 0 {
		t.Error("something passes")
	}
	for _, s := range []PeerStatus{a.status(b), b.status(a)} {
		if s.State == StateUp || !strings.Contains(s.Reason, "another environment") {
			t.Errorf("%+v", s)
		}
	}
	a.env = b.env
	a.boot()
	meet(t, a, b)
}

// Nothing is answered and nothing changes for messages that are garbled, cut short, too long or of another version.
func TestGarbledMessages(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	tape := record(w)
	meet(t, a, b)
	w.run(time.Second)
	w.tap = func(_, _ netip.AddrPort, msg []byte) { t.Errorf("answered with %d bytes", len(msg)) }
	before, drops := b.sas["a"], maps.Clone(b.m.drops)
	for _, r := range *tape {
		if r.to != b.addr {
			continue
		}
		for i := range r.msg {
			garbled := append([]byte(nil), r.msg...)
			garbled[i] ^= 0x40
			b.receive(r.from, garbled)
			b.receive(r.from, r.msg[:i])
		}
		b.receive(r.from, append(append([]byte(nil), r.msg...), make([]byte, 65_000)...))
	}
	b.receive(a.addr, nil)
	if len(b.m.drops) != len(drops)+2 || b.m.drops["mac"] == drops["mac"] || b.m.drops["header"] == drops["header"] {
		t.Errorf("drops %v", b.m.drops)
	}
	if after := b.sas["a"]; *after.Out != *before.Out || len(after.In) != len(before.In) {
		t.Error("the SAs changed")
	}
}

// A response with an ephemeral key of low order, which anyone who knows our public key can make, must not spoil the
// handshake for the real response.
func TestLowOrderResponseDoesNoHarm(t *testing.T) {
	w := newWorld(t, 1, fixedSuite, "a", "b")
	a, b := w.hosts[0], w.hosts[1]
	b.boot()
	b.know(a)
	a.boot()
	w.tap = func(from, _ netip.AddrPort, msg []byte) {
		if from == a.addr && msg[0] == typeInit && msg[2] == 0 {
			for _, body := range [][]byte{make([]byte, 32), make([]byte, 200), make([]byte, 10)} {
				h := header{kind: typeResponse, receiver: uint32(msg[4])<<24 | uint32(msg[5])<<16 | uint32(msg[6])<<8 | uint32(msg[7])}
				w.after(0, func() { a.receive(b.addr, split(h, body, macKey(a.m.static.Public))[0]) })
			}
		}
	}
	b.m.cancel(b.m.peers["a"])
	a.know(b)
	w.tap = nil
	meet(t, a, b)
	if a.m.Drops()["unopened"] < 3 || w.now > 500*time.Millisecond {
		t.Errorf("after %v: %v", w.now, a.m.Drops())
	}
}

func TestInitForAnotherHost(t *testing.T) {
	// b has its neighbour's key and address under its own ID, as after a copied machine image.
	w := newWorld(t, 1, cheapSuite, "a", "b")
	a, b := w.hosts[0], w.hosts[1]
	a.boot()
	b.boot()
	b.know(a)
	fact := b.fact()
	fact.HostID = "c"
	a.facts = []Peer{fact}
	a.setPeers()
	w.run(20 * time.Second)
	if b.m.Drops()["wrong-host"] == 0 || a.m.Drops()["unknown-key"] == 0 || len(a.sas["c"].In)+len(b.sas["a"].In) != 0 {
		t.Error(a.m.Drops(), b.m.Drops(), a.sas, b.sas)
	}
}

func TestUnusablePayloads(t *testing.T) {
	_, a, b := newPairWorld(t, 1)
	meet(t, a, b)
	p := a.m.peers["b"]
	p.init, _, _ = a.m.newInit(0, p, b.addr)
	if _, _, err := a.m.complete(0, p, p.init, make([]byte, 20)); err == nil {
		t.Error("a response of 20 bytes is accepted")
	}
	// A responder may raise the generation, not lower it: the pair would be below the one in use.
	hs, err := b.m.newNoise(false, nil)
	if err != nil {
		t.Fatal(err)
	}
	init, body, err := a.m.newInit(0, p, b.addr)
	if err != nil {
		t.Fatal(err)
	}
	payload, _, _, err := hs.ReadMessage(nil, body)
	if err != nil {
		t.Fatal(err)
	}
	offer, err := parseInit(payload)
	if err != nil {
		t.Fatal(err)
	}
	offer.generation, b.m.peers["a"].generation = 0, 0
	_, answer, err := b.m.answer(0, b.m.peers["a"], hs, offer, responsePayload{cipher: ipsec.AES256GCM, observed: a.addr})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.m.complete(0, p, init, answer); err != errPayload {
		t.Errorf("a lower generation: %v", err)
	}
	for _, r := range []responsePayload{{generation: 1, spi: 300}, {generation: 1, spi: 3, cipher: ipsec.AES256GCM}} {
		if _, err := parseResponse(r.encode()); err == nil {
			t.Errorf("accepted: %+v", r)
		}
	}
}
