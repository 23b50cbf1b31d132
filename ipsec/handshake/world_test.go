package handshake

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// world is hosts on a network that loses, doubles, delays and reorders, in virtual time. After each step it checks that no
// host sends on an SA that its receiver does not hold.
type world struct {
	t     testing.TB
	rng   *rand.Rand
	suite func() suite
	now   time.Duration
	hosts []*host
	queue deliveries
	count int

	loss, double, eventLoss float64
	handshakeLoss           float64        // more than loss, for what is not ESP
	met                     map[string]int // troubles of the schedule, by name
	unopened                int            // packets of ESP that arrived and were not opened
	delay                   time.Duration  // longest
	tap                     func(from, to netip.AddrPort, msg []byte)
	block                   func(from, to *host, esp bool) bool // true: dropped
}

func newWorld(t testing.TB, seed uint64, s func() suite, ids ...string) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), suite: s, delay: 5 * time.Millisecond}
	for i, id := range ids {
		h := &host{w: w, id: id, env: "test", down: true, former: make(map[ipsec.SPI]bool), wake: never}
		h.addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 30, 0, byte(i + 1)}), 4500)
		binary.BigEndian.PutUint64(h.secret.Bytes[:], w.rng.Uint64())
		h.options.Start = time.Unix(1_700_000_000, 0)
		w.hosts = append(w.hosts, h)
	}
	return w
}

// newPairWorld has two hosts, both up, that know each other.
func newPairWorld(t testing.TB, seed uint64) (w *world, a, b *host) {
	w = newWorld(t, seed, cheapSuite, "a", "b")
	a, b = w.hosts[0], w.hosts[1]
	a.boot()
	b.boot()
	a.know(b)
	b.know(a)
	return w, a, b
}

// delivery is something that happens later.
type delivery struct {
	at    time.Duration
	order int
	do    func()
}

type deliveries []delivery

func (d deliveries) Len() int { return len(d) }
func (d deliveries) Less(i, j int) bool {
	return d[i].at < d[j].at || d[i].at == d[j].at && d[i].order < d[j].order
}
func (d deliveries) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *deliveries) Push(x any)   { *d = append(*d, x.(delivery)) }
func (d *deliveries) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}

func (w *world) after(d time.Duration, do func()) {
	w.count++
	heap.Push(&w.queue, delivery{w.now + d, w.count, do})
}

// carry takes a packet over the network.
func (w *world) carry(from, to *host, esp bool, arrive func()) {
	if to == nil || w.block != nil && w.block(from, to, esp) {
		return
	}
	copies := 1
	if w.rng.Float64() < w.double {
		copies = 2
	}
	for range copies {
		if w.rng.Float64() >= w.loss && (esp || w.handshakeLoss == 0 || w.rng.Float64() >= w.handshakeLoss) {
			w.after(time.Duration(1+w.rng.Int64N(int64(w.delay))), arrive)
		}
	}
}

func (w *world) at(addr netip.AddrPort) *host {
	for _, h := range w.hosts {
		if h.source() == addr {
			return h
		}
	}
	return nil
}

// run goes on for d of virtual time.
func (w *world) run(d time.Duration) { w.runUntil(w.now+d, func() bool { return false }) }

// runUntil goes on until done, or end, and says which.
func (w *world) runUntil(end time.Duration, done func() bool) bool {
	for !done() {
		next := end
		var waking *host
		if len(w.queue) > 0 {
			next = min(next, w.queue[0].at)
		}
		for _, h := range w.hosts {
			if !h.down && h.wake < next {
				next, waking = h.wake, h
			}
		}
		w.now = max(w.now, next)
		switch {
		case waking != nil:
			waking.step(nil)
		case len(w.queue) > 0 && w.queue[0].at <= next && next < end:
			heap.Pop(&w.queue).(delivery).do()
		default:
			return done()
		}
	}
	return true
}

// settled says whether both hosts are up and each sends on what the other receives on.
func settled(a, b *host) bool {
	return a.status(b).State == StateUp && b.status(a).State == StateUp && joined(a, b) == nil
}

// joined checks that each host's outbound SA is an inbound one of the other.
func joined(a, b *host) error {
	for _, pair := range [][2]*host{{a, b}, {b, a}} {
		from, to := pair[0], pair[1]
		out := from.sas[to.id].Out
		if out == nil {
			return fmt.Errorf("%s has no outbound SA: %+v", from.id, from.status(to))
		}
		if in := find(to.sas[from.id].In, out.SPI); in == nil || in.Key.Bytes != out.Key.Bytes || in.Cipher != out.Cipher {
			return fmt.Errorf("%s sends on %v, which %s does not hold", from.id, out.SPI, to.id)
		}
	}
	return nil
}

func find(sas []ipsec.SA, spi ipsec.SPI) *ipsec.SA {
	for i := range sas {
		if sas[i].SPI == spi {
			return &sas[i]
		}
	}
	return nil
}
