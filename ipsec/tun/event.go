package tun

import (
	"sync"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// events hands events to whoever reads them, and never waits for him.
type events struct {
	mu     sync.Mutex
	ch     chan ipsec.Event
	closed bool
}

// send reports whether the event found room.
func (e *events) send(ev ipsec.Event) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	select {
	case e.ch <- ev:
		return true
	default:
		return false
	}
}

func (e *events) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.closed = true
		close(e.ch)
	}
}

// bucket limits how often something is done: rate times a second, burst at once. It belongs to one goroutine.
type bucket struct {
	rate, burst float64
	tokens      float64
	last        time.Time
}

// take reports whether it may be done now.
func (b *bucket) take(now time.Time) bool {
	if b.last.IsZero() {
		b.tokens = b.burst
	} else {
		b.tokens = min(b.burst, b.tokens+now.Sub(b.last).Seconds()*b.rate)
	}
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
