package plugin

import (
	"context"
	"errors"
	"fmt"
)

// backend is what answers the calls, or why nothing does. Either both drivers are set, or err, or neither.
type backend struct {
	network Network
	ipam    IPAM
	err     error
	why     string
}

var errStopping = errors.New("meshsec is stopping")

// SetBackend makes calls go to the two drivers, also those that are waiting.
func (s *Server) SetBackend(n Network, i IPAM) { s.set(backend{network: n, ipam: i}) }

// SetError answers every call with err from now on, but for the few that Docker needs to list the plugin at all. For
// settings that can't work: a plugin that exits instead would be started again by dockerd in a busy loop. Nil takes the
// error back.
func (s *Server) SetError(err error) { s.set(backend{err: err}) }

// SetStarting says what the backend is waiting for, in the words of a user: "etcd at 192.0.2.1:2379 does not answer". It
// changes nothing once there is a backend or an error.
func (s *Server) SetStarting(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backend.why = why
}

func (s *Server) set(b backend) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.why = s.backend.why
	s.backend = b
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) current() (backend, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.backend, s.changed
}

// ready waits for a backend, as long as ctx lasts.
func (s *Server) ready(ctx context.Context) (backend, error) {
	for {
		b, changed := s.current()
		if b.err != nil {
			return b, b.err
		}
		if b.network != nil {
			return b, nil
		}
		select {
		case <-changed:
		case <-s.stop.Done():
			return b, errStopping
		case <-ctx.Done():
			b, _ := s.current()
			if b.why == "" {
				return b, errors.New("meshsec is starting")
			}
			return b, fmt.Errorf("meshsec is starting: %s", b.why)
		}
	}
}
