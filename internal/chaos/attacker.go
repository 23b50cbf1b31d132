package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/internal/testnet"
)

// attacker is a machine on the underlay that overhears everything and injects all along. It forges every address but its
// own Ethernet one, by which the leak harness knows it, and by which the underlay's bridge stays in order.
type attacker struct {
	marker [16]byte // in every payload of its own
	mac    net.HardwareAddr
	host   *testnet.Host
	nodes  []*node
	rng    *rand.Rand
	fd     int
	link   int

	mu         sync.Mutex
	heard      int
	recent     [][]byte // what crossed last
	old        [][]byte // a sample of all that ever crossed
	handshakes [][]byte // a sample of all handshake messages
	sent       map[string]int
}

const (
	keep        = 512 // frames of each sort that the attacker remembers
	attackEvery = 20 * time.Millisecond
	attackBurst = 10 // frames
)

func newAttacker(h *testnet.Host, nodes []*node, seed uint64) (*attacker, error) {
	a := &attacker{host: h, nodes: nodes, rng: rand.New(rand.NewPCG(seed, 0x61747461636b)), sent: map[string]int{}}
	_, _ = crand.Read(a.marker[:]) // never fails
	return a, h.Enter(func() error {
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		a.mac, a.link = link.HardwareAddr, link.Index
		a.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
}

// overhear keeps a frame that another machine sent.
func (a *attacker) overhear(frame []byte) {
	if len(frame) < 14+20+8 || frame[12] != 8 || frame[13] != 0 { // IPv4
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	frame = bytes.Clone(frame)
	a.recent = append(a.recent, frame)
	a.recent = a.recent[max(0, len(a.recent)-keep):]
	a.heard++
	a.old = a.sample(a.old, frame)
	if isHandshake(frame) {
		a.handshakes = a.sample(a.handshakes, frame)
	}
}

// sample keeps the first frames, later ones with a chance that falls, so that all times are there.
func (a *attacker) sample(list [][]byte, frame []byte) [][]byte {
	if len(list) < keep {
		return append(list, frame)
	}
	if i := a.rng.IntN(a.heard); i < keep {
		list[i] = frame
	}
	return list
}

// run attacks until ctx ends.
func (a *attacker) run(ctx context.Context) error {
	defer unix.Close(a.fd)
	tick := time.NewTicker(attackEvery * scale())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for range attackBurst {
			frame := a.next()
			if frame == nil {
				continue
			}
			err := unix.Sendto(a.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: a.link})
			if err != nil && !errors.Is(err, unix.ENOBUFS) {
				return fmt.Errorf("attacker: %d bytes: %w", len(frame), err)
			}
		}
	}
}

// next makes a frame of a random sort; nil when nothing was overheard yet that it is made of.
func (a *attacker) next() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	names := slices.Sorted(maps.Keys(attacks))
	sort := names[a.rng.IntN(len(names))]
	to := a.rng.IntN(len(a.nodes))
	payload := attacks[sort](a, to)
	if payload == nil {
		return nil
	}
	a.sent[sort]++
	return ethernet(a.nodes[to].mac, a.mac, payload)
}

// counts says how many frames of each sort were sent.
func (a *attacker) counts() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.sent)
}
