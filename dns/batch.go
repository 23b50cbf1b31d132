package dns

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is how many datagrams one system call takes at most.
const batchSize = 64

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	head unix.Msghdr
	size uint32 // bytes received or sent
}

// batch is what one call receives or sends. It belongs to one goroutine.
type batch struct {
	heads [batchSize]mmsghdr
	iov   [batchSize]unix.Iovec
	names [batchSize]unix.RawSockaddrInet4
	bufs  [batchSize][ownSize]byte
	n     int // in use
	sent  int // of these
	err   error
}

func newBatch() *batch {
	b := &batch{}
	for i := range b.heads {
		h := &b.heads[i].head
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&b.names[i])), unix.SizeofSockaddrInet4
		h.Iov = &b.iov[i]
		h.SetIovlen(1)
		b.iov[i].Base = &b.bufs[i][0]
		b.iov[i].SetLen(ownSize)
	}
	return b
}

// receive waits for datagrams.
func (b *batch) receive(c syscall.RawConn) error {
	b.n = 0
	err := c.Read(func(fd uintptr) bool {
		for i := range b.heads {
			b.heads[i].head.Namelen = unix.SizeofSockaddrInet4
		}
		return b.call(unix.SYS_RECVMMSG, fd, 0, batchSize, func(n int) { b.n = n })
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
			return b.call(unix.SYS_SENDMMSG, fd, b.sent, b.n, func(n int) { b.sent += n })
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

// call makes a system call for the messages from i up to n; false: not now.
func (b *batch) call(number, fd uintptr, i, n int, done func(int)) bool {
	for {
		count, _, errno := unix.Syscall6(number, fd, uintptr(unsafe.Pointer(&b.heads[i])), uintptr(n-i), 0, 0, 0)
		switch errno {
		case 0:
			b.err = nil
			done(int(count))
		case unix.EAGAIN:
			return false
		case unix.EINTR:
			continue
		default:
			b.err = errno
		}
		return true
	}
}

// get gives the i-th datagram that was received; long tells that its end is missing.
func (b *batch) get(i int) (data []byte, from netip.AddrPort, long bool) {
	m, name := &b.heads[i], &b.names[i]
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&name.Port))[:])
	return b.bufs[i][:min(int(m.size), ownSize)], netip.AddrPortFrom(netip.AddrFrom4(name.Addr), port), m.head.Flags&unix.MSG_TRUNC != 0
}

// room is where the next datagram to send may be written.
func (b *batch) room() []byte { return b.bufs[b.n][:] }

// add adds a datagram, to where the i-th of another batch came from.
func (b *batch) add(data []byte, from *batch, i int) {
	b.names[b.n] = from.names[i]
	b.iov[b.n].Base = unsafe.SliceData(data)
	b.iov[b.n].SetLen(len(data))
	b.n++
}
