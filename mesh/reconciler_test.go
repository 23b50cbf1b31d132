package mesh

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRunFollowsTheFacts(t *testing.T) {
	n, r := fakes()
	run(t, r)
	f := baseFacts()
	n.put(f)
	applied(t, r, 42)
	n.carries(t, f)
	f = baseFacts()
	f.snap.Revision = 50
	f.endpoint("b", "default", "10.42.65.9")
	n.put(f)
	applied(t, r, 50)
	n.carries(t, f)
	if got := r.Ignored(); len(got) > 0 {
		t.Errorf("ignored %v", got)
	}
}

func TestRunRepeatsWhatFailed(t *testing.T) {
	n, r := fakes()
	left := 5
	n.failing(func(call string) bool { left--; return left > 0 })
	f := baseFacts()
	n.put(f)
	run(t, r)
	applied(t, r, 42) // though nothing changes any more
	n.carries(t, f)
}

func TestRunRepairsWhatOthersTouch(t *testing.T) {
	n, r := fakes()
	n.put(baseFacts())
	run(t, r)
	applied(t, r, 42)
	r.progress.mu.Lock()
	next := r.progress.next
	r.progress.mu.Unlock()
	(<-n.touched)()
	select {
	case <-next:
	case <-time.After(10 * time.Second):
		t.Error("no further round")
	}
}

func TestWaitAppliedSaysWhy(t *testing.T) {
	n, r := fakes()
	n.failing(func(call string) bool { return call == "filter" })
	n.put(baseFacts())
	_ = r.Reconcile(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.WaitApplied(ctx, 42); err == nil || !strings.Contains(err.Error(), "filter: broken") {
		t.Errorf("got %v", err)
	}
}

func TestPauseGrows(t *testing.T) {
	_, r := fakes()
	r.times = Times{}.withDefaults()
	if got := r.pause(0, 0); got != time.Minute {
		t.Errorf("without failures: %s", got)
	}
	for failures, most := range map[int]time.Duration{1: 100 * time.Millisecond, 3: 400 * time.Millisecond, 12: 30 * time.Second, 1000: 30 * time.Second} {
		for range 20 {
			if got := r.pause(failures, 0); got < most/2 || got > most {
				t.Errorf("after %d failures: %s, want %s to %s", failures, got, most/2, most)
			}
		}
	}
}

// TestNothingIsEverMissing: random histories, with failures thrown in and rekeys between, end as wanted; and no Config
// on the way lacks an endpoint that existed throughout.
func TestNothingIsEverMissing(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 4))
			n, rec := fakes()
			var dice sync.Mutex
			n.failing(func(string) bool {
				dice.Lock()
				defer dice.Unlock()
				return r.IntN(6) == 0
			})
			run(t, rec)
			var last *facts
			for step := range 30 {
				f := baseFacts()
				f.snap.Revision = int64(100 + step)
				dice.Lock()
				for range r.IntN(8) {
					f.endpoint([]string{"b", "c"}[r.IntN(2)], "default", fmt.Sprintf("10.42.%d.%d", 64+r.IntN(3), 3+r.IntN(9)))
				}
				if r.IntN(3) == 0 {
					f.onThisHost("d1", "other", "10.43.0.0/16")
				}
				dice.Unlock()
				n.put(f)
				_ = rec.Rekey(t.Context())
				last = f
			}
			n.failing(nil)
			applied(t, rec, last.snap.Revision)
			n.carries(t, last)
			n.mu.Lock()
			defer n.mu.Unlock()
			for _, c := range n.configs {
				for i, always := range []string{"10.42.65.2", "10.42.66.2"} {
					if !slices.Contains(c.Peers[i].Prefixes, netip.MustParsePrefix(always+"/32")) {
						t.Fatalf("a Config lacks %s", always)
					}
				}
			}
		})
	}
}
