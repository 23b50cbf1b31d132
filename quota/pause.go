package quota

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// passing are the errors of sockets that are good: the system has run out of something, or a connection or the network
// failed before it was accepted (accept(2), recvmmsg(2)).
var passing = []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED, unix.ECONNRESET, unix.EPROTO, unix.EPERM,
	unix.ENETDOWN, unix.ENETUNREACH, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENONET, unix.EINTR}

// Passing tells whether a socket that has returned an error may be used again, after a pause: who serves many does not end
// for it.
func Passing(err error) bool {
	return slices.ContainsFunc(passing, func(p error) bool { return errors.Is(err, p) })
}

// The shortest and the longest Pause.
const (
	shortest = 5 * time.Millisecond
	longest  = time.Second
)

// Pause is the time between attempts: short at first, twice as long each time. The zero value is before the first one. It
// belongs to one goroutine.
type Pause struct{ last time.Duration }

// Wait returns when the pause is over, or at once when done is closed.
func (p *Pause) Wait(done <-chan struct{}) {
	p.last = min(max(2*p.last, shortest), longest)
	timer := time.NewTimer(p.last)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	}
}
