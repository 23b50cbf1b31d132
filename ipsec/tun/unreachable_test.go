package tun

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/ipsec/esp"
)

func TestUnreachableMessage(t *testing.T) {
	var u unreachable
	u.init()
	for _, ip := range [][]byte{testTCP(5, flagACK, 700), testIPv4(17, []byte("12345678")), testIPv4(250, nil)} {
		for _, c := range []struct {
			p    *peer
			from netip.Addr
		}{{nil, addrB}, {&peer{}, addrB}, {&peer{router: [4]byte{100, 127, 0, 2}}, netip.MustParseAddr("100.127.0.2")}} {
			m := u.message(slices.Clone(ip), c.p)
			got, h, ok := parseIPv4(m)
			if !ok || len(got) != len(m) || h != ipSize || m[9] != protoICMP || m[ipSize] != 3 || m[ipSize+1] != 1 {
				t.Fatalf("%x", m)
			}
			if source(m) != number(c.from) || destination(m) != number(addrA) {
				t.Errorf("from %x to %x", source(m), destination(m))
			}
			if fold(sum(m[:ipSize], 0)) != 0xffff || fold(sum(m[ipSize:], 0)) != 0xffff {
				t.Error("wrong checksum")
			}
			if quoted := m[ipSize+8:]; !bytes.HasPrefix(ip, quoted) || len(quoted) < min(len(ip), ipSize+8) {
				t.Errorf("%d bytes quoted", len(quoted))
			}
		}
	}
}

// RFC 1122 3.2.2.
func TestRFC1122_3_2_2(t *testing.T) {
	from := func(a string) []byte { return testIPv4From(netip.MustParseAddr(a), addrB, 17, nil) }
	icmp := func(kind byte) []byte { return testIPv4(protoICMP, []byte{kind, 0, 0, 0, 0, 0, 0, 0}) }
	fragment := testIPv4(17, make([]byte, 8))
	fragment[7] = 1
	firstFragment := testIPv4(17, make([]byte, 8))
	firstFragment[6] = 0x20
	for name, c := range map[string]struct {
		ip   []byte
		want bool
	}{
		"udp": {from("10.42.1.9"), true}, "tcp": {testTCP(1, 2, 0), true}, "echo request": {icmp(8), true}, "echo reply": {icmp(0), true},
		"unreachable": {icmp(3), false}, "time exceeded": {icmp(11), false}, "unknown type": {icmp(77), false}, "icmp, empty": {testIPv4(protoICMP, nil), false},
		"source 0": {from("0.0.0.0"), false}, "source loopback": {from("127.0.0.1"), false}, "source multicast": {from("224.0.0.1"), false},
		"source broadcast":      {from("255.255.255.255"), false},
		"destination multicast": {testIPv4From(addrA, netip.MustParseAddr("239.1.1.1"), 17, nil), false},
		"fragment":              {fragment, false}, "first fragment": {firstFragment, true},
	} {
		if got := answerable(c.ip, ipSize); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestUnreachableIsLimited(t *testing.T) {
	d, far := pipeDevice(t)
	var u unreachable
	u.init()
	u.limit.rate = 0 // no refill, however slow the machine
	for range 500 {
		u.answer(d, testIPv4(17, nil), ipSize, nil)
	}
	if n := len(written(t, far)); n != int(u.limit.burst) {
		t.Errorf("%d messages", n)
	}
}

func TestBucket(t *testing.T) {
	b, now, n := bucket{rate: 10, burst: 5}, time.Unix(1e9, 0), 0
	take := func() {
		for range 100 {
			if b.take(now) {
				n++
			}
		}
	}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 5}, {0, 5}, {100 * time.Millisecond, 6}, {50 * time.Millisecond, 6}, {50 * time.Millisecond, 7}, {time.Hour, 12}, {-time.Hour, 12}} {
		now = now.Add(c.after)
		if take(); n != c.want {
			t.Errorf("after %s: %d, want %d", c.after, n, c.want)
		}
	}
}

// Nobody reads: packets go on, and the newest confirmation is told once somebody does.
func TestEventsNeverBlock(t *testing.T) {
	w, _ := newWorld(t)
	for range 2 * cap(w.events.ch) {
		w.events.send(ipsec.Event{Kind: ipsec.UnknownSPI})
	}
	packet := seal(t, w.fromB, testIPv4From(addrB, addrA, 17, nil))
	w.rx.receive(packet, len(packet), stranger)
	for range cap(w.events.ch) {
		if ev := <-w.Events(); ev.Kind != ipsec.UnknownSPI {
			t.Fatalf("%+v", ev)
		}
	}
	packet = seal(t, w.fromB, testIPv4From(addrB, addrA, 17, nil))
	w.rx.receive(packet, len(packet), stranger)
	if ev := <-w.Events(); ev.Kind != ipsec.SPIConfirmed || ev.SPI != 0x1001 {
		t.Errorf("%+v", ev)
	}
	// A flood of unknown SPIs makes no flood of events.
	for range 1000 {
		w.rx.receive(bytes.Repeat([]byte{0x99}, 60), 60, stranger)
	}
	if n := len(w.events.ch); n > 40 {
		t.Errorf("%d events", n)
	}
	w.events.close()
	w.events.close()
	if w.events.send(ipsec.Event{}) {
		t.Error("sent after close")
	}
}

func TestLimitIsReported(t *testing.T) {
	p, _ := pipePlane(t)
	sa := testSA(0x1001)
	p.publish(configOf(peerAt("b", addrB, loopback(p), nil, &sa)))
	p.table.Load().peers[0].out.Retire() // stands for 2^32 packets
	tx := newTransmitter(p)
	for range 3 {
		n := copy(tx.buf[vnetSize:], testIPv4(17, nil))
		tx.packet(p.device.Load(), vnet{}, tx.buf[vnetSize:vnetSize+n])
	}
	if ev := <-p.Events(); ev.Kind != ipsec.SPILimit || ev.Peer != "b" || ev.SPI != 0x1001 || len(p.events.ch) != 0 {
		t.Errorf("%+v and %d more", ev, len(p.events.ch))
	}
	if n := count(t, p, "packet-limit"); n != 3 {
		t.Errorf("%d counted", n)
	}
}

// A packet whose SA is replaced between the look into the table and its sealing goes on the new one.
func TestReplacedSAIsNotALimit(t *testing.T) {
	p, _ := pipePlane(t)
	old, fresh := testSA(0x1001), testSA(0x1003)
	p.publish(configOf(peerAt("b", addrB, loopback(p), nil, &old)))
	before := &p.table.Load().peers[0]
	p.publish(configOf(peerAt("b", addrB, loopback(p), nil, &fresh)))
	tx := newTransmitter(p)
	q, out, err := tx.seal(before, nil, testIPv4(17, nil))
	if err != nil || q.out.spi != fresh.SPI || esp.SPI(out) != uint32(fresh.SPI) {
		t.Errorf("sealed on %v: %v", q.out.spi, err)
	}
	p.publish(configOf(peerAt("b", addrB, loopback(p), nil, nil)))
	if _, _, err := tx.seal(before, nil, testIPv4(17, nil)); err == nil {
		t.Error("sealed without an SA")
	}
}

// An SA that has carried much is reported once, and used further.
func TestSoftLimitIsReported(t *testing.T) {
	for _, by := range []string{"packets", "bytes"} {
		p, _ := pipePlane(t)
		sa := testSA(0x1001)
		if by == "packets" {
			p.sas.retired[fingerprintOf('o', &sa.Key)] = mark{seq: ipsec.SoftPackets - 3}
		}
		p.publish(configOf(peerAt("b", addrB, loopback(p), nil, &sa)))
		tx := newTransmitter(p)
		for i := range 4 {
			if by == "bytes" && i == 2 {
				p.table.Load().peers[0].out.bytes = ipsec.SoftBytes - 1
			}
			if n := len(p.events.ch); i < 3 && n != 0 {
				t.Errorf("%s: reported after %d", by, i)
			}
			n := copy(tx.buf[vnetSize:], testIPv4(17, nil))
			tx.packet(p.device.Load(), vnet{}, tx.buf[vnetSize:vnetSize+n])
		}
		if ev := <-p.Events(); ev.Kind != ipsec.SPISoftLimit || ev.Peer != "b" || ev.SPI != 0x1001 || len(p.events.ch) != 0 {
			t.Errorf("%s: %+v and %d more", by, ev, len(p.events.ch))
		}
		if s, _ := p.Stats(); s.Peers[0].TxPackets != 4 {
			t.Errorf("%s: %+v", by, s)
		}
	}
}
