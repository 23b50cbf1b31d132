package handshake

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

func bytesReader(b []byte) io.Reader { return bytes.NewReader(b) }

// pick returns one of the choices.
func pick[T any](rng *rand.Rand, choices ...T) T { return choices[rng.IntN(len(choices))] }

// chaos is a random schedule: an hour's worth of bad luck in one to two minutes.
func chaos(t testing.TB, seed uint64, s func() suite) *world {
	w := newWorld(t, seed, s, "a", "b")
	a, b := w.hosts[0], w.hosts[1]
	w.loss = pick(w.rng, 0, 0.1, 0.3, 0.5)
	w.double = pick(w.rng, 0, 0, 0.2)
	w.eventLoss = pick(w.rng, 0, 0, 0.2)
	w.delay = pick(w.rng, time.Millisecond, 50*time.Millisecond, 500*time.Millisecond, 3*time.Second)
	within := func(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d))) }
	w.met = map[string]int{"loss": int(100 * w.loss), "duplication": int(100 * w.double), "reordering": int(w.delay / time.Second)}
	if w.rng.IntN(4) == 0 {
		w.after(within(90*time.Second), func() {
			w.met["both restart at once"]++
			a.boot()
			b.boot()
		})
	}
	for _, p := range [][2]*host{{a, b}, {b, a}} {
		h, other := p[0], p[1]
		boots, knows := pick(w.rng, 0, within(20*time.Second)), pick(w.rng, 0, within(20*time.Second))
		w.after(boots, h.boot)
		w.after(boots+knows, func() { h.know(other) })
		if knows > 0 {
			w.met["fact late"]++
		}
		if h == b && boots+knows == 0 && a.wakes == 0 {
			w.met["crossing starts"]++
		}
		h.wakes = boots + knows
		// Its wall clock steps: what is running counts by the monotonic one, what is started next shows the new time.
		if w.rng.IntN(4) == 0 {
			w.after(boots+within(80*time.Second), func() {
				w.met["clock step"]++
				h.options.Start = h.options.Start.Add(pick(w.rng, -year, year))
			})
		}
		for range pick(w.rng, 0, 0, 1, 2) {
			at, away := boots+within(80*time.Second), pick(w.rng, 0, within(10*time.Second))
			w.after(at, func() { h.down = true })
			w.after(at+away, h.boot)
		}
		if w.rng.IntN(4) == 0 {
			w.after(boots+within(80*time.Second), func() {
				set := h.sas[other.id]
				if w.rng.IntN(2) == 0 || len(set.In) == 0 {
					h.limit(other.id, set.Out)
				} else {
					h.limit(other.id, &set.In[0])
				}
			})
		}
		// The first host changes its address, or its NAT does. Its fact says nothing of it.
		for range pick(w.rng, 0, 0, 1, 3) {
			if h == a {
				w.after(boots+within(80*time.Second), func() {
					h.public = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(w.rng.Uint32())}), uint16(1024+w.rng.IntN(60_000)))
				})
			}
		}
		watch(h, other)
		traffic(h, other, within(2*time.Second)+50*time.Millisecond)
	}
	w.run(time.Minute + within(time.Minute))
	for _, h := range w.hosts {
		if h.m != nil {
			w.met["peer unknown"] += int(h.m.drops["unknown-key"])
			w.met["replay or double"] += int(h.m.drops["replay"])
		}
	}
	return w
}

// watch probes the tunnel every ten seconds and says when nothing has come for half a minute.
func watch(h, to *host) {
	h.w.after(10*time.Second, func() {
		if !h.down {
			h.esp(to.id, true)
			if h.w.now-max(h.heard, h.booted) > 30*time.Second {
				h.heard = h.w.now
				h.step(func(now time.Duration) []Output {
					return h.m.Event(now, ipsec.Event{Kind: ipsec.PeerSilent, Peer: to.id})
				})
			}
		}
		watch(h, to)
	})
}

// traffic sends a packet now and then, whatever else is going on.
func traffic(h, to *host, every time.Duration) {
	h.w.after(every, func() {
		if !h.down {
			h.esp(to.id, false)
		}
		traffic(h, to, every)
	})
}

// calm makes the network good and checks that the hosts end on one pair, with nothing else left.
func calm(w *world) {
	w.t.Helper()
	a, b := w.hosts[0], w.hosts[1]
	w.loss, w.double, w.eventLoss, w.delay = 0, 0, 0, 20*time.Millisecond
	if !w.runUntil(w.now+time.Minute, func() bool { return !a.down && !b.down && settled(a, b) }) {
		w.t.Fatalf("not settled a minute after the network got well:\n%+v\n%+v\n%v", a.status(b), b.status(a), joined(a, b))
	}
	w.run(2 * time.Minute)
	if !settled(a, b) {
		w.t.Fatalf("did not stay settled:\n%+v\n%+v", a.status(b), b.status(a))
	}
	for _, h := range w.hosts {
		other := w.hosts[0]
		if h == other {
			other = w.hosts[1]
		}
		if at := h.status(other).Remote; at != other.source() {
			w.t.Fatalf("%s sends to %v, %s is at %v", h.id, at, other.id, other.source())
		}
		for peer, set := range h.sas {
			if len(set.In) != 1 {
				w.t.Fatalf("%s still holds %d inbound SAs for %s", h.id, len(set.In), peer)
			}
		}
		if n := len(h.m.spis); n != 1 || len(h.m.inits) != 0 || len(h.m.parts.peers)+len(h.m.parts.strangers) != 0 {
			w.t.Fatalf("%s: %d SPIs, %d inits, %d+%d parts are left over",
				h.id, n, len(h.m.inits), len(h.m.parts.peers), len(h.m.parts.strangers))
		}
	}
}

const year = 365 * 24 * time.Hour

// schedules is how many are tried: 100,000 take some minutes.
var schedules = flag.Uint64("schedules", 20_000, "random schedules of TestSchedules")

// Whatever the schedule, both hosts end on one pair, and the world's law holds at each step.
func TestSchedules(t *testing.T) {
	n, shards := *schedules, uint64(4)
	if testing.Short() || raceEnabled {
		n = min(n, 800)
	}
	var mu sync.Mutex
	met := map[string]int{}
	t.Cleanup(func() {
		for _, trouble := range []string{"loss", "duplication", "reordering", "both restart at once", "clock step", "fact late",
			"crossing starts", "peer unknown", "replay or double"} {
			if met[trouble] == 0 {
				t.Errorf("no schedule had: %s", trouble)
			}
		}
		t.Logf("figure: %d schedules, of which with each trouble: %v", n, met)
	})
	for shard := range shards {
		t.Run(fmt.Sprint(shard), func(t *testing.T) {
			t.Parallel()
			seed := shard
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("with seed %d", seed)
				}
			})
			for ; seed < n; seed += shards {
				w := chaos(t, seed, cheapSuite)
				calm(w)
				mu.Lock()
				for trouble, times := range w.met {
					met[trouble] += min(1, times)
				}
				mu.Unlock()
			}
		})
	}
}

func TestSchedulesWithTheRealCryptography(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { calm(chaos(t, seed, fixedSuite)) })
	}
}

// The same seed gives the same run, byte for byte.
func TestRunsAreRepeatable(t *testing.T) {
	transcript := func() string {
		w := chaos(t, 7, fixedSuite)
		calm(w)
		return fmt.Sprintf("%v %+v %+v", w.count, w.hosts[0].m.Status(), w.hosts[1].sas["a"].Out.Key.Bytes)
	}
	if a, b := transcript(), transcript(); a != b {
		t.Errorf("two runs differ:\n%s\n%s", a, b)
	}
}
