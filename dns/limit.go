package dns

import (
	"net/netip"
	"sync"
	"time"
)

// limiter bounds how often each address may do something: rate times a second, twice as often at once (a token bucket).
type limiter struct {
	rate float64

	mu      *sync.Mutex
	buckets map[netip.Addr]*bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func newLimiter(rate int) limiter {
	return limiter{rate: float64(rate), mu: &sync.Mutex{}, buckets: map[netip.Addr]*bucket{}}
}

// maxBuckets is how many addresses are remembered before those that have been quiet are forgotten.
const maxBuckets = 4096

// allow takes one.
func (l *limiter) allow(addr netip.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[addr]
	if b == nil {
		if len(l.buckets) >= maxBuckets {
			l.sweep(now)
		}
		b = &bucket{left: 2 * l.rate, at: now}
		l.buckets[addr] = b
	}
	if d := now.Sub(b.at); d > 0 {
		b.left, b.at = min(b.left+d.Seconds()*l.rate, 2*l.rate), now
	}
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// sweep forgets the buckets that are full again: all, after two seconds. Needs the lock.
func (l *limiter) sweep(now time.Time) {
	for addr, b := range l.buckets {
		if now.Sub(b.at) > 2*time.Second {
			delete(l.buckets, addr)
		}
	}
}
