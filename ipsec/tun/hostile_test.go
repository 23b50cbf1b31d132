package tun_test

import (
	"crypto/rand"
	"encoding/binary"
	"net"
	"testing"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/ipsec/esp"
)

// Whatever is thrown at the port, the agent stays up, counts it, and lets nothing in.
func TestHostilePackets(t *testing.T) {
	a, b := newLab(t)
	join(a, b, 0x1000)
	a.ping(b.container)
	b.stop() // its port is taken over by somebody who has b's address, and later its keys
	var hostile *net.UDPConn
	a.must(b.inside(b.ns, func() (err error) {
		hostile, err = net.DialUDP("udp4", net.UDPAddrFromAddrPort(b.addr), net.UDPAddrFromAddrPort(a.addr))
		return err
	}))
	defer hostile.Close()
	send := func(d []byte) {
		t.Helper()
		if _, err := hostile.Write(d); err != nil {
			t.Fatal(err)
		}
	}
	random := func(n int) []byte {
		d := make([]byte, n)
		_, _ = rand.Read(d)
		return d
	}
	sum := func(reason string) uint64 {
		p, drops := a.stats()
		return p.Drops[reason] + drops[reason]
	}
	for range 200 {
		send(random(100))
	}
	for _, n := range []int{0, 1, 3, 4, 5, 33, 1472, 65507} {
		send(random(n))
	}
	known := random(1000)
	binary.BigEndian.PutUint32(known, 0x1000)
	binary.BigEndian.PutUint32(known[4:], 100)
	send(known)
	until(t, "unknown SPIs are counted", func() bool { return sum("unknown-spi") >= 201 })
	until(t, "a forged packet is counted", func() bool { return sum("icv") == 1 })
	before, _ := a.stats()

	in := sa(0x1000, ipsec.AES256GCM) // b's keys are stolen; its sequence numbers are at 10 or so
	sealer, err := esp.NewSealer(uint32(in.SPI), esp.AES256GCM, &in.Key.Bytes, 5000)
	a.must(err)
	packet, err := sealer.Seal(nil, udp(b, a))
	a.must(err)
	send(packet)
	send(packet)
	until(t, "a replayed packet is counted", func() bool { return sum("replay") == 1 })
	spoofed := udp(b, a)
	copy(spoofed[12:16], []byte{10, 42, 9, 9})
	packet, err = sealer.Seal(nil, spoofed)
	a.must(err)
	send(packet)
	until(t, "a wrong source is counted", func() bool { return sum("source") == 1 })
	if after, _ := a.stats(); after.RxPackets != before.RxPackets+1 {
		t.Errorf("%d packets were let in, want 1", after.RxPackets-before.RxPackets)
	}
	_ = hostile.Close()
	b.start()
	join(a, b, 0x2000)
	a.ping(b.container)
}

// udp is an empty UDP packet between the containers.
func udp(from, to *host) []byte {
	ip := make([]byte, 28)
	ip[0], ip[3], ip[8], ip[9], ip[25] = 0x45, 28, 64, 17, 8
	copy(ip[12:], from.container.AsSlice())
	copy(ip[16:], to.container.AsSlice())
	return ip
}
