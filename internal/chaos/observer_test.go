package main

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
)

func testTraffic() *traffic {
	t := &traffic{canary: [16]byte([]byte("canary canary ca")), marker: [16]byte([]byte("marker marker ma"))}
	for i := range 2 {
		t.boxes = append(t.boxes, &box{addr: netip.AddrFrom4([4]byte{10, 42, 64, byte(i + 2)})})
		t.pairs = append(t.pairs, []*pair{{}, {}})
	}
	t.pairs[0][1].sent.Store(200)
	return t
}

// TestObserver: what the observer of container 1 says of frames; empty: nothing.
func TestObserver(t *testing.T) {
	tr := testTraffic()
	from, to := tr.boxes[0].addr, tr.boxes[1].addr
	mac := make([]byte, 6)
	frame := func(src netip.Addr, proto byte, payload []byte) []byte {
		return ethernet(mac, mac, ipv4(src, to, proto, payload))
	}
	datagram := func(b []byte) []byte { return frame(from, protoUDP, udp(udpPort, udpPort, b)) }
	altered := tr.datagram(0, 1, 7)
	altered[50] ^= 1
	short := datagram(tr.datagram(0, 1, 9))
	other := ethernet(mac, mac, make([]byte, 40))
	binary.BigEndian.PutUint16(other[12:], 0x1234)
	for _, c := range []struct {
		what  string
		frame []byte
		want  string
	}{
		{"a datagram", datagram(tr.datagram(0, 1, 3)), ""},
		{"padded to the least length of Ethernet", append(datagram(tr.datagram(0, 1, 4)), 0, 0), ""},
		{"the same again", datagram(tr.datagram(0, 1, 3)), "second time"},
		{"another", datagram(tr.datagram(0, 1, 130)), ""},
		{"never sent", datagram(tr.datagram(0, 1, 201)), "nobody sent"},
		{"altered", datagram(altered), "nobody sent"},
		{"for another", datagram(tr.datagram(1, 0, 3)), "nobody sent"},
		{"from a stranger", frame(netip.MustParseAddr("10.42.64.9"), protoUDP, udp(udpPort, udpPort, tr.datagram(0, 1, 5))), "a packet from"},
		{"from itself", frame(to, protoUDP, udp(udpPort, udpPort, tr.datagram(0, 1, 5))), "a packet from"},
		{"injected", frame(from, protoTCP, append(udp(tcpPort, tcpPort, make([]byte, 20)), tr.marker[:]...)), "injected"},
		{"TCP", frame(from, protoTCP, udp(tcpPort, 40000, make([]byte, 20))), ""},
		{"TCP to another port", frame(from, protoTCP, udp(22, 40000, make([]byte, 20))), "protocol 6"},
		{"UDP to another port", frame(from, protoUDP, udp(53, 53, tr.datagram(0, 1, 5))), "protocol 17"},
		{"unreachable", frame(netip.MustParseAddr("10.42.0.1"), 1, []byte{3, 1, 0, 0}), ""},
		{"ping", frame(from, 1, []byte{8, 0, 0, 0}), "protocol 1"},
		{"cut short", short[:100], "malformed"},
		{"no header", mac, "without header"},
		{"another ethertype", other, "ethertype"},
	} {
		if why := tr.fault(1, c.frame); (why == "") != (c.want == "") || !strings.Contains(why, c.want) {
			t.Errorf("%s: %q, want %q", c.what, why, c.want)
		}
	}
	if n := tr.pairs[0][1].arrived.Load(); n != 3 {
		t.Errorf("%d arrived", n)
	}
}

func TestFindingsAreTakenOnceAndBounded(t *testing.T) {
	tr := testTraffic()
	for range 100 {
		tr.judge(1, []byte{1})
	}
	if err := tr.findings(); err == nil || strings.Count(err.Error(), "delivered to the container on h2") != 10 {
		t.Error(err)
	}
	if err := tr.findings(); err != nil {
		t.Error(err)
	}
}
