package main

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"github.com/meshsec/meshsec/internal/testnet"
)

// testAttacker is one that has overheard ESP and handshakes between two hosts.
func testAttacker() *attacker {
	a := &attacker{marker: [16]byte([]byte("0123456789abcdef")), mac: net.HardwareAddr{2, 0, 0, 0, 0, 9}, rng: rand.New(rand.NewPCG(1, 2)),
		host: &testnet.Host{Addr: netip.MustParseAddr("172.30.0.9")}, sent: map[string]int{}}
	for i := range 2 {
		n := &node{mac: net.HardwareAddr{2, 0, 0, 0, 0, byte(i)}, home: netip.AddrFrom4([4]byte{172, 30, 0, byte(i + 1)}), away: netip.AddrFrom4([4]byte{172, 30, 0, byte(i + 101)})}
		n.now.Store(&n.home)
		a.nodes = append(a.nodes, n)
	}
	for i, n := range a.nodes {
		other := a.nodes[1-i]
		for _, payload := range [][]byte{append([]byte{1, 2, 3, 4, 0, 0, 0, 1}, make([]byte, 80)...), append([]byte{0, 0, 0, 0, 1, 1, 0, 1}, make([]byte, 80)...)} {
			a.overhear(ethernet(n.mac, other.mac, ipv4(other.home, n.home, protoUDP, udp(natT, natT, payload))))
		}
	}
	return a
}

// TestEveryAttackIsMade: each sort gives well-formed packets, and what is made of the attacker's own bytes bears the marker.
func TestEveryAttackIsMade(t *testing.T) {
	a := testAttacker()
	for sort, attack := range attacks {
		for range 100 {
			p := attack(a, 0)
			if p == nil {
				t.Errorf("%s: nothing", sort)
				break
			}
			if len(p) < 20 || len(p) > 1500 || p[0] != 0x45 || int(binary.BigEndian.Uint16(p[2:])) != len(p) {
				t.Errorf("%s: %x", sort, p)
			}
			own := bytes.HasPrefix([]byte(sort), []byte("plaintext")) || sort == "unsealed ESP with a live SPI" || sort == "unknown SPI"
			if own && !bytes.Contains(p, a.marker[:]) {
				t.Errorf("%s lacks the marker: %x", sort, p)
			}
		}
	}
}

func TestAttackerRemembersABoundedSample(t *testing.T) {
	a := testAttacker()
	for i := range 5 * keep {
		body := binary.BigEndian.AppendUint32(make([]byte, 4), uint32(i))
		a.overhear(ethernet(a.nodes[0].mac, a.nodes[1].mac, ipv4(a.nodes[1].home, a.nodes[0].home, protoUDP, udp(natT, natT, append(body, make([]byte, 60)...)))))
	}
	if len(a.recent) != keep || len(a.old) != keep || len(a.handshakes) != keep {
		t.Errorf("%d recent, %d old, %d handshakes", len(a.recent), len(a.old), len(a.handshakes))
	}
	late := 0
	for _, f := range a.old {
		if binary.BigEndian.Uint32(udpPayload(f)[4:]) > 3*keep {
			late++
		}
	}
	if late == 0 || late > keep*3/4 {
		t.Errorf("%d of %d are late ones", late, keep)
	}
	a.overhear([]byte{1, 2, 3})
	a.overhear(make([]byte, 100)) // no IPv4
	if a.heard != 5*keep+4 {
		t.Errorf("%d frames", a.heard)
	}
}
