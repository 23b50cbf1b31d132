package dns

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/mmsg"
)

// batch is what one call receives or sends. It belongs to one goroutine.
type batch struct {
	mmsg.Messages
	names [mmsg.Size]unix.RawSockaddrInet4
	bufs  [mmsg.Size][ownSize]byte
	n     int // in use
	sent  int // of these
	err   error
}

func newBatch() *batch {
	b := &batch{}
	b.Init()
	for i := range b.Heads {
		b.Heads[i].Name, b.Heads[i].Namelen = (*byte)(unsafe.Pointer(&b.names[i])), unix.SizeofSockaddrInet4
		b.Put(i, b.bufs[i][:])
	}
	return b
}

// receive waits for datagrams.
func (b *batch) receive(c syscall.RawConn) error {
	b.n = 0
	err := c.Read(func(fd uintptr) bool {
		for i := range b.Heads {
			b.Heads[i].Namelen = unix.SizeofSockaddrInet4
		}
		n, errno := b.Receive(fd)
		b.n = n
		return b.over(errno)
	})
	if err == nil {
		err = b.err
	}
	return err
}

// send sends what was added since the last time. What the kernel does not take is lost, as datagrams may be.
func (b *batch) send(c syscall.RawConn) error {
	for b.sent = 0; b.sent < b.n; {
		before := b.sent
		err := c.Write(func(fd uintptr) bool {
			n, errno := b.Send(fd, b.sent, b.n)
			b.sent += n
			return b.over(errno)
		})
		if err != nil {
			return err
		}
		if b.sent == before {
			b.sent++ // that one can't be sent: its receiver is gone
		}
	}
	b.n = 0
	return nil
}

// over keeps the result of a call; false: the socket is not ready.
func (b *batch) over(errno unix.Errno) bool {
	if b.err = nil; errno != 0 {
		b.err = errno
	}
	return errno != unix.EAGAIN
}

// get gives the i-th datagram that was received; long tells that its end is missing.
func (b *batch) get(i int) (data []byte, from netip.AddrPort, long bool) {
	m, name := &b.Heads[i], &b.names[i]
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&name.Port))[:])
	return b.bufs[i][:min(int(m.Bytes), ownSize)], netip.AddrPortFrom(netip.AddrFrom4(name.Addr), port), m.Flags&unix.MSG_TRUNC != 0
}

// room is where the next datagram to send may be written.
func (b *batch) room() []byte { return b.bufs[b.n][:] }

// add adds a datagram, to where the i-th of another batch came from.
func (b *batch) add(data []byte, from *batch, i int) {
	b.names[b.n] = from.names[i]
	b.Put(b.n, data)
	b.n++
}
