package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/directory"
)

// ailing is a listener whose first accepts fail.
type ailing struct {
	net.Listener
	left atomic.Int32
	err  error
}

func (l *ailing) Accept() (net.Conn, error) {
	if l.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp4", Err: os.NewSyscallError("accept4", l.err)}
	}
	return l.Listener.Accept()
}

// TestServingOutlivesFaults: an accept that fails because the host has no descriptors left ends neither DNS nor, with it, the
// agent; one that fails because the socket is broken does.
func TestServingOutlivesFaults(t *testing.T) {
	for _, fault := range []error{unix.EMFILE, unix.ENOBUFS, unix.ECONNABORTED, unix.EBADF} {
		s := New(Options{Domain: "meshsec.internal", Board: directory.NewBoard(environment()), Age: func() (time.Duration, bool) { return 0, true },
			Resolvers: func() []netip.AddrPort { return nil }})
		udp := must(net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 53)}))(t)
		l := &ailing{Listener: must(net.Listen("tcp4", udp.LocalAddr().String()))(t), err: fault}
		l.left.Store(4)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, udp, l) }()
		if fault == unix.EBADF {
			if err := <-done; !errors.Is(err, fault) {
				t.Errorf("%v: %v", fault, err)
			}
			cancel()
			continue
		}
		for _, network := range []string{"tcp", "udp"} {
			if got := says(exchange(t, network, udp.LocalAddr().String(), me, question("db", dns.TypeA))); got != "10.43.64.2" {
				t.Errorf("%v: %s: %s", fault, network, got)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%v: %v", fault, err)
		}
	}
}

// failing is a socket whose first reads fail, and whose later ones bring nothing.
type failing struct {
	syscall.RawConn
	left, tried int
	err         error
}

func (c *failing) Read(func(uintptr) bool) error {
	c.tried++
	if c.left--; c.left >= 0 {
		return c.err
	}
	return nil
}

// TestReceivingOutlivesFaults: neither does a host without memory.
func TestReceivingOutlivesFaults(t *testing.T) {
	for fault, want := range map[error]int{unix.ENOMEM: 4, unix.ENOBUFS: 4, unix.EBADF: 1} {
		c := &failing{left: 3, err: fault}
		err := receive(t.Context(), newBatch(), c)
		if c.tried != want || (err == nil) != (want > 1) {
			t.Errorf("%v: %d tries, %v", fault, c.tried, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := receive(ctx, newBatch(), &failing{left: 1 << 30, err: unix.ENOMEM}); err == nil {
		t.Error("goes on after the end")
	}
}
