package tun

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// Invariant: a (key, nonce) pair is never used twice, and no packet is accepted twice, whatever Configs come and go.
func TestNeverTheSameNonceNeverTheSamePacket(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 9))
		p, _ := pipePlane(t)
		nonces, accepted := map[string]bool{}, map[string]bool{}
		var recorded [][]byte // everything that ever was on the wire
		for range 150 {
			// Any of four SAs out, any of them in; both directions of one key stand for the two ends of an SA.
			c := configOf(peerAt("b", addrB, loopback(p), nil, nil), peerAt("c", addrA, loopback(p), nil, nil))
			for i := range 4 {
				if sa := testSA(ipsec.SPI(0x1000 + i)); r.IntN(2) == 0 {
					c.Peers[r.IntN(2)].In = append(c.Peers[0].In[:0:0], sa)
				}
			}
			for i := range c.Peers {
				if sa := testSA(ipsec.SPI(0x1000 + r.IntN(4))); r.IntN(3) > 0 {
					c.Peers[i].Out = &sa
				}
			}
			p.publish(c)
			table := p.table.Load()
			for i := range table.peers {
				for range r.IntN(4) {
					if table.peers[i].out == nil {
						continue
					}
					packet, err := table.peers[i].out.Seal(nil, testIPv4(17, nil))
					if err != nil {
						t.Fatal(err)
					}
					if nonce := fmt.Sprintf("%x", packet[:16]); nonces[nonce] {
						t.Fatalf("seed %d: nonce %s twice", seed, nonce)
					} else {
						nonces[nonce] = true
					}
					recorded = append(recorded, packet)
				}
			}
			for range r.IntN(20) {
				if len(recorded) == 0 {
					break
				}
				packet := recorded[r.IntN(len(recorded))]
				in, ok := table.spis[binary.BigEndian.Uint32(packet)]
				if !ok {
					continue
				}
				if _, err := in.open(append([]byte(nil), packet...)); err == nil {
					if id := fmt.Sprintf("%x", packet[:16]); accepted[id] {
						t.Fatalf("seed %d: packet %s accepted twice", seed, id)
					} else {
						accepted[id] = true
					}
				}
			}
		}
		if len(nonces) < 50 || len(accepted) < 10 {
			t.Errorf("seed %d tried little: %d sealed, %d accepted", seed, len(nonces), len(accepted))
		}
	}
}

// The packet path may hold an old table while Set retires its SAs.
func TestRetiredStateIsDead(t *testing.T) {
	p, _ := pipePlane(t)
	sa := testSA(0x1001)
	p.publish(configOf(peerAt("b", addrB, loopback(p), []ipsec.SA{sa}, &sa)))
	old := p.table.Load()
	packet, err := old.peers[0].out.Seal(nil, testIPv4(17, nil))
	if err != nil {
		t.Fatal(err)
	}
	p.publish(configOf())
	if _, err := old.peers[0].out.Seal(nil, nil); err == nil {
		t.Error("a retired SA seals")
	}
	if _, err := old.spis[0x1001].open(packet); err != errRetired {
		t.Errorf("a retired SA opens: %v", err)
	}
}

func TestOneKeyOneSA(t *testing.T) {
	p, _ := pipePlane(t)
	sa := testSA(0x1001)
	other := sa
	other.SPI = 0x1002
	for name, c := range map[string]ipsec.Config{
		"two SPIs, one key, in": configOf(peerAt("b", addrB, loopback(p), []ipsec.SA{sa, other}, nil)),
		"two peers, one key, out": configOf(peerAt("b", addrB, loopback(p), nil, &sa),
			peerAt("c", addrA, loopback(p), nil, &other)),
	} {
		p.publish(configOf())
		if errs := p.publish(c); len(errs) != 1 || !strings.Contains(errs[0].Error(), "its key belongs to") {
			t.Errorf("%s: %v", name, errs)
		}
	}
	p.publish(configOf(peerAt("b", addrB, loopback(p), []ipsec.SA{sa}, &sa)))
	if errs := p.publish(configOf(peerAt("b", addrB, loopback(p), []ipsec.SA{other}, &other))); len(errs) != 1 ||
		strings.Count(errs[0].Error(), "its key belongs to SA 0x00001001") != 2 {
		t.Errorf("another SPI for a key in use: %v", errs)
	}
}

func TestRetiredAreForgotten(t *testing.T) {
	var s sas
	s.init()
	sa := testSA(0x1001)
	used := map[fingerprint]bool{}
	if _, err := s.outbound(&sa, used); err != nil {
		t.Fatal(err)
	}
	if _, err := s.inbound(&sa, used); err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	s.retire(nil, now)
	s.retire(nil, now.Add(keepRetired))
	if len(s.retired) != 2 || len(s.in)+len(s.out) != 0 {
		t.Errorf("%d retired", len(s.retired))
	}
	s.retire(nil, now.Add(keepRetired+time.Second))
	if len(s.retired) != 0 {
		t.Error("never forgotten")
	}
}
