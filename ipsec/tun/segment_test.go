package tun

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/meshsec/meshsec/ipsec/esp"
)

// cut does to a packet what transmitter.segments does, without sealing.
func cut(ip []byte, headers, size int) (out [][]byte) {
	ip = slices.Clone(ip)
	s := newSegmenter(ip, ipSize, headers)
	for at := 0; at == 0 || headers+at < len(ip); at += size {
		n := min(size, len(ip)-headers-at)
		segment := ip[at : at+headers+n]
		s.header(segment, at, headers+at+n == len(ip))
		out = append(out, slices.Clone(segment))
	}
	return out
}

func TestSegments(t *testing.T) {
	const headers = ipSize + 32
	for _, c := range []struct{ n, size, want int }{{4000, 1000, 4}, {4001, 1000, 5}, {999, 1000, 1}, {1000, 1000, 1}, {0, 1000, 1}, {50, 1, 50}} {
		const start uint32 = 0xfffffff0 // the sequence number wraps
		ip := testTCP(start, flagACK|flagPSH|flagFIN|flagCWR, c.n)
		got := cut(ip, headers, c.size)
		if len(got) != c.want {
			t.Fatalf("%+v: %d segments", c, len(got))
		}
		var payload []byte
		for i, s := range got {
			p, h, ok := parseIPv4(s)
			if !ok || len(p) != len(s) || h != ipSize {
				t.Fatalf("%+v: segment %d is no packet", c, i)
			}
			if fold(sum(s[:ipSize], 0)) != 0xffff || fold(sum(s[ipSize:], pseudo(s, protoTCP, len(s)-ipSize))) != 0xffff {
				t.Errorf("%+v: segment %d: wrong checksum", c, i)
			}
			if id := binary.BigEndian.Uint16(s[4:]); id != uint16(0xfffe+i) {
				t.Errorf("%+v: segment %d: id %#x", c, i, id)
			}
			if seq := binary.BigEndian.Uint32(s[ipSize+4:]); seq != start+uint32(len(payload)) {
				t.Errorf("%+v: segment %d: sequence %#x", c, i, seq)
			}
			want := byte(flagACK)
			if i == 0 {
				want |= flagCWR
			}
			if i == len(got)-1 {
				want |= flagPSH | flagFIN
			}
			if s[ipSize+13] != want {
				t.Errorf("%+v: segment %d: flags %#x, want %#x", c, i, s[ipSize+13], want)
			}
			if !bytes.Equal(s[ipSize+20:headers], ip[ipSize+20:headers]) {
				t.Errorf("%+v: segment %d: options %x", c, i, s[ipSize+20:headers])
			}
			payload = append(payload, s[headers:]...)
		}
		if !bytes.Equal(payload, ip[headers:]) {
			t.Errorf("%+v: payload differs", c)
		}
	}
}

// sealed transmits a packet of the TUN and gives what the peer opens of it.
func sealed(t *testing.T, h vnet, packet []byte) (inner [][]byte, p *Plane) {
	t.Helper()
	p, _ = pipePlane(t)
	sa := testSA(0x1001)
	p.publish(configOf(peerAt("b", addrB, loopback(p), nil, &sa)))
	opener, err := esp.NewOpener(0x1001, esp.AES256GCM, &sa.Key.Bytes, 0)
	if err != nil {
		t.Fatal(err)
	}
	datagrams := collect(t, p)
	tx := newTransmitter(p)
	h.put(tx.buf)
	n := copy(tx.buf[vnetSize:], packet)
	tx.packet(p.device.Load(), h, tx.buf[vnetSize:vnetSize+n])
	want := p.table.Load().peers[0].stats.txPackets.Load()
	for range want {
		plain, err := opener.Open(<-datagrams)
		if err != nil {
			t.Fatal(err)
		}
		inner = append(inner, plain)
	}
	return inner, p
}

func TestTransmitSegments(t *testing.T) {
	for _, c := range []struct{ n, size int }{{61000, 1386}, {62000, 536}, {64000, 1386}, {3000, 20}, {1386, 1386}, {1387, 1386}, {1000, 65535}} {
		packet := testTCP(77, flagACK|flagPSH, c.n)
		got, _ := sealed(t, vnet{flags: needsCsum, gsoType: gsoTCPv4, gsoSize: uint16(c.size), csumStart: ipSize, csumOffset: tcpChecked}, packet)
		if want := cut(packet, ipSize+32, c.size); !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("%+v: %d segments, want %d, or they differ", c, len(got), len(want))
		}
	}
}

func TestTransmitSingles(t *testing.T) {
	for name, packet := range map[string][]byte{
		"tcp": testTCP(1, flagACK, 100), "udp": testIPv4(17, make([]byte, 30)), "icmp": testIPv4(protoICMP, make([]byte, 1400)),
		"header only": testIPv4(250, nil), "tail of the buffer": testIPv4(250, make([]byte, maxPacket-ipSize-600)),
	} {
		if got, p := sealed(t, vnet{}, packet); len(packet) < 60000 && (len(got) != 1 || !bytes.Equal(got[0], packet)) {
			t.Errorf("%s: %d packets, %v", name, len(got), p.drops.count())
		}
	}
}

// Nothing that a TUN should not give is sent.
func TestTransmitRefuses(t *testing.T) {
	tcp := testTCP(1, flagACK, 100)
	fragmented := slices.Clone(tcp)
	fragmented[7] = 1
	for name, c := range map[string]struct {
		h      vnet
		packet []byte
		reason string
	}{
		"ipv6":              {vnet{}, append([]byte{0x60}, make([]byte, 60)...), "not-ipv4"},
		"short":             {vnet{}, tcp[:19], "not-ipv4"},
		"cut off":           {vnet{}, tcp[:len(tcp)-1], "not-ipv4"},
		"header too long":   {vnet{}, append([]byte{0x4f}, tcp[1:40]...), "not-ipv4"},
		"header too short":  {vnet{}, append([]byte{0x44}, tcp[1:]...), "not-ipv4"},
		"to nobody":         {vnet{}, testIPv4From(addrA, netip.MustParseAddr("10.42.3.3"), 17, nil), "no-route"},
		"checksum outside":  {vnet{flags: needsCsum, csumStart: 900}, tcp, "offload"},
		"udp segments":      {vnet{gsoType: 5, gsoSize: 10}, tcp, "offload"},
		"no segment size":   {vnet{gsoType: gsoTCPv4}, tcp, "offload"},
		"tiny segments":     {vnet{gsoType: gsoTCPv4, gsoSize: minSegment - 1}, tcp, "offload"},
		"segments of udp":   {vnet{gsoType: gsoTCPv4, gsoSize: 10}, testIPv4(17, make([]byte, 80)), "offload"},
		"segments, no tcp":  {vnet{gsoType: gsoTCPv4, gsoSize: 10}, testIPv4(protoTCP, make([]byte, 19)), "offload"},
		"segment fragments": {vnet{gsoType: gsoTCPv4, gsoSize: 10}, fragmented, "offload"},
	} {
		got, p := sealed(t, c.h, c.packet)
		if s, _ := p.Stats(); len(got) > 0 || s.Drops[c.reason]+s.Peers[0].Drops[c.reason] != 1 {
			t.Errorf("%s: %d packets, %+v", name, len(got), s)
		}
	}
}

// FuzzTransmit: the TUN's other end is the kernel, but its packets are the containers'. All that comes back are ICMP
// errors; they are read, for a pipe that is full blocks, which a TUN does not.
func FuzzTransmit(f *testing.F) {
	p, far := pipePlane(f)
	sa := testSA(0x1001)
	p.publish(configOf(peerAt("b", addrB, loopback(p), nil, &sa)))
	tx := newTransmitter(p)
	f.Add([]byte{needsCsum, gsoTCPv4, 0, 0, 100, 0, 20, 0, 16, 0}, testTCP(1, flagACK, 1000))
	f.Add([]byte{needsCsum, gsoNone, 0, 0, 0, 0, 20, 0, 6, 0}, testIPv4(17, make([]byte, 20)))
	f.Add([]byte{needsCsum, gsoNone, 255, 255, 255, 255, 255, 255, 255, 255}, testIPv4(17, nil))
	f.Add([]byte{0, gsoTCPv4, 0, 0, 1, 0, 0, 0, 0, 0}, testTCP(1, flagACK, 1))
	f.Fuzz(func(t *testing.T, header, packet []byte) {
		if len(header) < vnetSize {
			return
		}
		n := copy(tx.buf[vnetSize:vnetSize+maxPacket], packet)
		tx.packet(p.device.Load(), parseVnet(header), tx.buf[vnetSize:vnetSize+n])
		for _, answer := range written(t, far) {
			if ip, h, ok := parseIPv4(answer[vnetSize:]); !ok || ip[9] != protoICMP || ip[h] != 3 {
				t.Fatalf("wrote back %x", answer)
			}
		}
	})
}
