package handshake

import (
	"net/netip"
	"testing"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// FuzzReceive gives a host that is up, and that waits for a response, anything: as it is, and with a good MAC put in front,
// as whoever knows the host's public key could send it. Nothing may panic, no SA in use may change, no memory may grow.
func FuzzReceive(f *testing.F) {
	w, a, b := newPairWorld(f, 1)
	tape := record(w)
	w.run(time.Second)
	b.boot()
	w.run(time.Second)
	for _, r := range *tape {
		f.Add(r.msg, uint8(0))
		f.Add(r.msg[:len(r.msg)/2], uint8(1))
	}
	f.Add([]byte{}, uint8(0))
	w.tap = nil
	f.Fuzz(func(t *testing.T, msg []byte, source uint8) {
		w, a, b = newPairWorld(t, 1)
		w.run(time.Second)
		began := ipsec.Event{Kind: ipsec.UnknownSPI, Remote: b.addr}
		a.step(func(now time.Duration) []Output { return a.m.Event(now, began) })
		from := b.addr
		if source > 0 {
			from = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, source}), 4500)
		}
		before, held := a.sas["b"], memory(a.m)
		for _, authentic := range []bool{false, true} {
			d := append([]byte(nil), msg...)
			if authentic && len(d) > headerLen && len(d) <= maxDatagram {
				copy(d[macOffset:], mac(macKey(a.m.static.Public), d))
			}
			a.receive(from, d)
		}
		if after := a.sas["b"]; *after.Out != *before.Out {
			t.Error("the outbound SA changed")
		}
		// A recorded init that is not remembered may leave a pending pair, its SPI and its ephemeral key.
		if n := memory(a.m); n > held+8 {
			t.Errorf("%d things held, %d before", n, held)
		}
		w.run(3 * time.Minute)
		if !settled(a, b) {
			t.Errorf("not up afterwards: %+v", a.status(b))
		}
	})
}

// FuzzPayloads: what parses is what is encoded again.
func FuzzPayloads(f *testing.F) {
	f.Add(initPayload{7, 256, make([]byte, 1184), []ipsec.Cipher{20, 28}, "alpha", "beta", elsewhere, nil}.encode())
	f.Add(initPayload{7, 256, make([]byte, 1184), []ipsec.Cipher{20, 28}, "alpha", "beta", elsewhere, make([]ppkID, 2)}.encode())
	f.Add(responsePayload{9, 300, 20, make([]byte, 1088), netip.MustParseAddrPort("[2001:db8::1]:1"), 0}.encode())
	f.Add(make([]byte, 1300))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parseInit(b); err == nil && p.target.Addr().Is4() {
			if e := p.encode(); string(e) != string(b[:len(e)]) {
				t.Errorf("init %x became %x", b, e)
			}
		}
		if p, err := parseResponse(b); err == nil && p.observed.Addr().Is4() {
			if e := p.encode(); string(e) != string(b[:len(e)]) {
				t.Errorf("response %x became %x", b, e)
			}
		}
	})
}
