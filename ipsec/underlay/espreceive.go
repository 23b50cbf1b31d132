package underlay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/mmsg"
)

// packetSize is the longest packet that is received, in bytes with its IP header: more than any link carries in one piece.
const packetSize = 1 << 14

// ipHeader is the length of an IPv4 header without options.
const ipHeader = 20

// inbox holds what one call receives. It belongs to one goroutine.
type inbox struct {
	mmsg.Messages
	buf     []byte
	count   int
	err     error
	packets [mmsg.Size][]byte // of one source
	call    func(fd uintptr) bool
}

func newInbox() *inbox {
	in := &inbox{buf: make([]byte, mmsg.Size*packetSize)}
	in.Init()
	for i := range mmsg.Size {
		in.Put(i, in.buf[i*packetSize:][:packetSize])
	}
	in.call = in.receive
	return in
}

func (in *inbox) receive(fd uintptr) bool {
	n, errno := in.Receive(fd)
	switch errno {
	case 0:
		in.count, in.err = n, nil
	case unix.EAGAIN:
		return false
	default:
		in.count, in.err = 0, errno
	}
	return true
}

// Run receives until ctx ends or the socket is closed, and calls the handler. Errors that a hostile or dead peer can cause
// are counted, not returned.
func (s *ESPSocket) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.Close() })
	defer stop()
	in := newInbox()
	for {
		err := s.raw.Read(in.call)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, os.ErrClosed), errors.Is(err, net.ErrClosed):
			return fmt.Errorf("receive esp: %w", net.ErrClosed)
		case err != nil:
			return fmt.Errorf("receive esp: %w", err)
		case in.err != nil:
			s.drops.add(sendReason(in.err), 1)
		default:
			s.deliver(in)
		}
	}
}

// deliver hands out runs of packets of one source, as long as possible.
func (s *ESPSocket) deliver(in *inbox) {
	h := s.handler.Load()
	var from netip.Addr
	run := in.packets[:0]
	for i := range in.count {
		m := &in.Heads[i]
		packet, source, ok := stripIPv4(in.buf[i*packetSize:][:min(int(m.Bytes), packetSize)])
		switch {
		case m.Flags&unix.MSG_TRUNC != 0:
			s.drops.add(dropTruncated, 1)
			continue
		case !ok:
			s.drops.add(dropShort, 1)
			continue
		case h == nil:
			s.drops.add(dropNoHandler, 1)
			continue
		}
		if source != from && len(run) > 0 {
			(*h)(run, from)
			run = run[:0]
		}
		from = source
		run = append(run, packet)
	}
	if len(run) > 0 {
		(*h)(run, from)
	}
}

// stripIPv4 takes off the header that a raw socket of IPv4 delivers with the packet (raw(7)).
func stripIPv4(b []byte) (packet []byte, from netip.Addr, ok bool) {
	if len(b) < ipHeader || b[0]>>4 != 4 {
		return nil, from, false
	}
	n := int(b[0]&15) * 4
	if n < ipHeader || len(b) <= n {
		return nil, from, false
	}
	return b[n:len(b):len(b)], netip.AddrFrom4([4]byte(b[12:16])), true
}
