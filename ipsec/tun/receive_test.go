package tun

import (
	"bytes"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/ipsec/esp"
)

var stranger = netip.MustParseAddrPort("198.51.100.7:4500")

// world is a plane with two peers, and what they seal with: b has addrB, c has addrC.
type world struct {
	*Plane
	fromB, fromC *esp.Sealer
}

var addrC = netip.MustParseAddr("10.42.3.9")

func newWorld(t testing.TB) (*world, *os.File) {
	t.Helper()
	p, far := pipePlane(t)
	inB, inC := testSA(0x1001), testSA(0x1002)
	if errs := p.publish(configOf(
		peerAt("b", addrB, loopback(p), []ipsec.SA{inB}, nil), peerAt("c", addrC, loopback(p), []ipsec.SA{inC}, nil),
	)); len(errs) > 0 {
		t.Fatal(errs)
	}
	w := &world{Plane: p}
	for sa, s := range map[*ipsec.SA]**esp.Sealer{&inB: &w.fromB, &inC: &w.fromC} {
		var err error
		if *s, err = esp.NewSealer(uint32(sa.SPI), esp.AES256GCM, &sa.Key.Bytes, 0); err != nil {
			t.Fatal(err)
		}
	}
	return w, far
}

func seal(t testing.TB, s *esp.Sealer, inner []byte) []byte {
	t.Helper()
	packet, err := s.Seal(nil, inner)
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

func TestReceive(t *testing.T) {
	w, far := newWorld(t)
	from := w.table.Load().peers[0].remote
	var batch []byte
	var want [][]byte
	for i := range 5 {
		inner := testIPv4From(addrB, addrA, 17, bytes.Repeat([]byte{byte(i)}, 100))
		want = append(want, inner)
		batch = append(batch, seal(t, w.fromB, inner)...)
	}
	w.rx.receive(batch, len(batch)/5, from)
	got := written(t, far)
	for i := range got {
		got[i] = got[i][vnetSize:]
	}
	if !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%d packets, or they differ", len(got))
	}
	if ev := <-w.Events(); ev != (ipsec.Event{Kind: ipsec.SPIConfirmed, Peer: "b", SPI: 0x1001, Remote: from}) {
		t.Errorf("%+v", ev)
	}
	select {
	case ev := <-w.Events():
		t.Errorf("told twice: %+v", ev)
	default:
	}
	s, _ := w.Stats()
	if b := s.Peers[0]; b.RxPackets != 5 || b.RxBytes != 600 || b.LastRx.IsZero() || len(b.Drops) > 0 || s.Peers[1].RxPackets != 0 {
		t.Errorf("%+v", s)
	}
}

// Nothing reaches a container that was not sealed by the host which owns the source address.
func TestNeverLetIn(t *testing.T) {
	w, far := newWorld(t)
	inner := testIPv4From(addrB, addrA, 17, make([]byte, 40))
	good := seal(t, w.fromB, inner)
	replayed := slices.Clone(good)
	w.rx.receive(slices.Clone(good), len(good), stranger)
	if got := written(t, far); len(got) != 1 {
		t.Fatalf("%d packets", len(got))
	}
	fresh := func(inner []byte) []byte { return seal(t, w.fromB, inner) }
	flipped := fresh(inner)
	flipped[len(flipped)-1] ^= 1
	seal(t, w.fromC, inner) // or its number would have been seen
	wrongKey := seal(t, w.fromC, testIPv4From(addrC, addrA, 17, nil))
	wrongKey[3] = 1 // b's SPI
	unknown := fresh(inner)
	unknown[0] = 0x77
	for _, c := range []struct {
		name     string
		datagram []byte
		reason   string
	}{
		{"replayed", replayed, "replay"},
		{"tampered with", flipped, "icv"},
		{"another peer's key", wrongKey, "icv"},
		{"unknown SPI", unknown, "unknown-spi"},
		{"truncated", fresh(inner)[:50], "icv"},
		{"short", good[:esp.MinSize-1], "short"},
		{"plain", inner, "unknown-spi"},
		{"source of another peer", fresh(testIPv4From(addrC, addrA, 17, nil)), "source"},
		{"source of this host", fresh(testIPv4From(addrA, addrA, 17, nil)), "source"},
		{"source of nobody", fresh(testIPv4From(netip.MustParseAddr("8.8.8.8"), addrA, 17, nil)), "source"},
		{"empty", fresh(nil), "inner"},
		{"ipv6", fresh(append([]byte{0x60}, make([]byte, 50)...)), "inner"},
		{"header cut off", fresh(inner[:19]), "inner"},
		{"packet cut off", fresh(inner[:len(inner)-1]), "inner"},
		{"total length below header", fresh(append([]byte{0x45, 0, 0, 19}, inner[4:]...)), "inner"},
		{"random", bytes.Repeat([]byte{0xa5}, 1400), "unknown-spi"},
	} {
		before := count(t, w.Plane, c.reason)
		w.rx.receive(c.datagram, len(c.datagram), stranger)
		if n := count(t, w.Plane, c.reason) - before; n != 1 {
			t.Errorf("%s: %d counted as %s", c.name, n, c.reason)
		}
	}
	if got := written(t, far); len(got) != 0 {
		t.Errorf("%d packets were let in", len(got))
	}
	// Behind the total length there may be anything (RFC 4303, section 2.7); it goes no further.
	padded := fresh(append(slices.Clone(inner), 1, 2, 3))
	w.rx.receive(padded, len(padded), stranger)
	if got := written(t, far); len(got) != 1 || !bytes.Equal(got[0][vnetSize:], inner) {
		t.Errorf("traffic flow confidentiality: %d packets", len(got))
	}
}

// count adds up a drop reason over everything.
func count(t testing.TB, p *Plane, reason string) uint64 {
	t.Helper()
	s, err := p.Stats()
	if err != nil {
		t.Fatal(err)
	}
	n := s.Drops[reason]
	for _, e := range s.Peers {
		n += e.Drops[reason]
	}
	return n
}

// A run of datagrams with bad ones among them: the good ones arrive, in order.
func TestReceiveMixedRun(t *testing.T) {
	w, far := newWorld(t)
	var run []byte
	var want []byte
	size := 0
	for i := range 30 {
		inner := testIPv4From(addrB, addrA, 17, bytes.Repeat([]byte{byte(i)}, 90))
		packet := seal(t, w.fromB, inner)
		size = len(packet)
		switch i % 3 {
		case 0:
			want = append(want, byte(i))
		case 1:
			packet[20] ^= 1
		case 2:
			packet[0] = 0x55
		}
		run = append(run, packet...)
	}
	w.rx.receive(run, size, stranger)
	var got []byte
	for _, p := range written(t, far) {
		got = append(got, p[len(p)-1])
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzReceive(f *testing.F) {
	w, far := newWorld(f)
	f.Add(testIPv4From(addrB, addrA, protoTCP, make([]byte, 40)), 60, true)
	f.Add(testTCP(1, flagACK, 100), 50, true)
	f.Add([]byte{}, 1, true)
	f.Add(make([]byte, 100), 38, false)
	f.Add([]byte{0, 0, 0x10, 1, 0, 0, 0, 1}, 8, false)
	f.Fuzz(func(t *testing.T, data []byte, segment int, authentic bool) {
		segment = 1 + max(segment, -segment, 0)%maxPacket
		if authentic { // a peer that has our keys is hostile
			data = seal(t, w.fromB, data[:min(len(data), maxPacket-100)])
			segment = len(data)
		}
		w.rx.receive(data, segment, stranger)
		for _, p := range written(t, far) {
			ip, _, ok := parseIPv4(p[vnetSize:])
			if !ok || len(ip) != len(p)-vnetSize || source(ip) != number(addrB) {
				t.Fatalf("let in %x", p)
			}
		}
	})
}
