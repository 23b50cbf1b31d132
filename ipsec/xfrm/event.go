package xfrm

import (
	"sync"

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
