package store

import (
	"fmt"
	"sync"
	"time"
)

// source is one way of knowing how etcd is.
type source int

const (
	byPing source = iota // there at all
	byList               // and it holds our facts
	sources
)

// health remembers when etcd was last reached, and what is wrong.
type health struct {
	mu     sync.Mutex
	at     time.Time
	asked  bool           // something was asked, and answered or not
	causes [sources]error // nil: all is well
}

func (h *health) cause() error {
	for _, cause := range h.causes {
		if cause != nil {
			return cause
		}
	}
	return nil
}

// reached notes a success. Where it ends the last trouble it says so, and has everything listed again.
func (s *Store) reached(by source) {
	h := &s.health
	h.mu.Lock()
	was := h.cause() != nil
	h.at, h.causes[by], h.asked = time.Now(), nil, true
	back := was && h.cause() == nil
	h.mu.Unlock()
	if back {
		s.log.Info("etcd is back")
		s.Refresh()
		poke(s.publish)
	}
}

// failed notes a failure, and logs it if all was well before.
func (s *Store) failed(by source, err error) {
	h := &s.health
	h.mu.Lock()
	first := h.cause() == nil
	h.causes[by], h.asked = err, true
	h.mu.Unlock()
	if first {
		s.log.WithError(err).Warn("etcd lost, going on with the facts at hand")
	}
}

// Healthy says whether etcd was reached lately, and if not, why, in one sentence.
func (s *Store) Healthy() (ok bool, why string) {
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	endpoints := s.where()
	cause, silence := h.cause(), time.Since(h.at)
	switch {
	case cause != nil:
		return false, cause.Error()
	case h.at.IsZero():
		return false, fmt.Sprintf("etcd at %s: not yet reached", endpoints)
	case silence > 3*s.cfg.pingEvery():
		return false, fmt.Sprintf("etcd at %s: silent for %s", endpoints, silence.Round(time.Second))
	}
	return true, ""
}
