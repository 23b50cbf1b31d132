// Package quota bounds what each container may ask of its host's services, so that one that floods them is no trouble to
// the others: how often, and how much at a time.
package quota

import (
	"net/netip"
	"sync"
	"time"
)

// Rates bounds how often each address may do something: so many times a second, and twice as often at once (a token
// bucket). It may be used concurrently.
type Rates struct {
	rate float64

	mu      sync.Mutex
	buckets map[netip.Addr]*bucket
}

type bucket struct {
	left float64
	at   time.Time
}

// NewRates allows each address so many times a second.
func NewRates(rate int) *Rates { return &Rates{rate: float64(rate), buckets: map[netip.Addr]*bucket{}} }

// maxBuckets is how many addresses are remembered before those that have been quiet are forgotten.
const maxBuckets = 4096

// Allow takes one; false: there is none left now.
func (r *Rates) Allow(addr netip.Addr, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bucket(addr, now)
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// Owe takes n more, all of it, for what turns out to be as much as n others: nothing more is allowed until the rate has made
// up for it, however long that takes.
func (r *Rates) Owe(addr netip.Addr, n int, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bucket(addr, now).left -= float64(n)
}

// Debt is how long an address is in debt.
func (r *Rates) Debt(addr netip.Addr, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(0, time.Duration(-r.bucket(addr, now).left/r.rate*float64(time.Second)))
}

// bucket gives an address's, as it is now. Needs the lock.
func (r *Rates) bucket(addr netip.Addr, now time.Time) *bucket {
	b := r.buckets[addr]
	if b == nil {
		if len(r.buckets) >= maxBuckets {
			r.sweep(now)
		}
		b = &bucket{left: 2 * r.rate, at: now}
		r.buckets[addr] = b
	}
	if d := now.Sub(b.at); d > 0 {
		b.left, b.at = min(b.left+d.Seconds()*r.rate, 2*r.rate), now
	}
	return b
}

// Charge takes n more for what Allow has allowed, also of what comes later, but of no more than a second's.
func (r *Rates) Charge(addr netip.Addr, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b := r.buckets[addr]; b != nil {
		b.left = max(b.left-float64(n), -r.rate)
	}
}

// sweep forgets the buckets that are full again. Needs the lock.
func (r *Rates) sweep(now time.Time) {
	for addr, b := range r.buckets {
		if b.left+now.Sub(b.at).Seconds()*r.rate >= 2*r.rate {
			delete(r.buckets, addr)
		}
	}
}
