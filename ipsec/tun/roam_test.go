package tun

import (
	"net/netip"
	"testing"

	"github.com/meshsec/meshsec/ipsec"
)

// An authentic packet from an address that the peer was not at is reported, as long as such packets come, but not often;
// a packet that is not authentic, or was replayed, is not.
func TestMovedPeerIsReported(t *testing.T) {
	w, _ := newWorld(t)
	home, away := w.table.Load().peers[0].remote, netip.MustParseAddrPort("198.51.100.7:1024")
	receive := func(from netip.AddrPort, packet []byte) { w.rx.receive(packet, len(packet), from) }
	fresh := func() []byte { return seal(t, w.fromB, testIPv4From(addrB, addrA, 17, nil)) }
	none := func(what string) {
		if n := len(w.events.ch); n != 0 {
			t.Errorf("%s: %d events", what, n)
		}
	}
	receive(home, fresh())
	<-w.Events() // confirmed
	receive(home, fresh())
	none("where it was")
	bad := fresh()
	bad[len(bad)-1] ^= 1
	receive(away, bad)
	none("not authentic")
	good := fresh()
	receive(home, append([]byte(nil), good...))
	receive(away, good)
	none("replayed")
	receive(away, fresh())
	if e := <-w.Events(); e.Kind != ipsec.PeerMoved || e.Peer != "b" || e.SPI != 0x1001 || e.Remote != away {
		t.Errorf("%+v", e)
	}
	for range 1000 {
		receive(away, fresh())
	}
	if n := len(w.events.ch); n == 0 || n > 40 {
		t.Errorf("%d events", n)
	}
	w.espRx.receivePackets([][]byte{fresh()}, away.Addr())
	for range len(w.events.ch) {
		if e := <-w.Events(); e.Remote != away {
			t.Errorf("%+v", e)
		}
	}
}
