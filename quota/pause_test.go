package quota

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// ailing is a listener that fails with the errors, one after the other; then it gives a connection, or the last error for
// ever, until it is closed.
type ailing struct {
	mu      sync.Mutex
	errs    []error
	forever bool
	closed  bool
	tried   int
}

func (l *ailing) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tried++
	switch {
	case l.closed:
		return nil, net.ErrClosed
	case len(l.errs) == 0:
		c, _ := net.Pipe()
		return c, nil
	}
	err := l.errs[0]
	if len(l.errs) > 1 || !l.forever {
		l.errs = l.errs[1:]
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp4", Err: os.NewSyscallError("accept4", err)}
}

func (l *ailing) Addr() net.Addr { return &net.TCPAddr{} }

func (l *ailing) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return nil
}

// TestAcceptGoesOn: no descriptors, no memory or a connection that is gone already is no reason to end.
func TestAcceptGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewPlaces(10, 10).Listener(&ailing{errs: []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED}}, func() {})
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	})
}

// TestAcceptEnds: a socket that is broken, or was closed, also while a pause goes on.
func TestAcceptEnds(t *testing.T) {
	for _, broken := range []error{unix.EBADF, unix.EINVAL, unix.ENOTSOCK} {
		if _, err := NewPlaces(10, 10).Listener(&ailing{errs: []error{broken}}, func() {}).Accept(); !errors.Is(err, broken) {
			t.Errorf("%v: %v", broken, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		inner := &ailing{errs: []error{unix.EMFILE}, forever: true}
		l := NewPlaces(10, 10).Listener(inner, func() {})
		ended := make(chan error)
		go func() {
			_, err := l.Accept()
			ended <- err
		}()
		<-time.After(time.Hour) // of the test's own clock
		synctest.Wait()
		before := inner.tried
		if before < 3600 || before > 3700 {
			t.Errorf("tried %d times in an hour", before)
		}
		now := time.Now()
		_, _ = l.Close(), l.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) || time.Now() != now {
			t.Errorf("closed: %v, %s later", err, time.Since(now))
		}
	})
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pause
		var got []string
		for range 10 {
			begun := time.Now()
			p.Wait(nil)
			got = append(got, fmt.Sprint(time.Since(begun)))
		}
		if want := []string{"5ms", "10ms", "20ms", "40ms", "80ms", "160ms", "320ms", "640ms", "1s", "1s"}; !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
	})
}
