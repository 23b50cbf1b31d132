// Package mmsg sends and receives many datagrams by one system call: recvmmsg(2) and sendmmsg(2). The standard library has
// neither, and golang.org/x/net's batches allocate for each.
package mmsg

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Size is how many messages one call takes at most.
const Size = 64

// Header is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type Header struct {
	unix.Msghdr
	Bytes uint32 // received or sent
}

// Messages are what one call takes, each in one piece. They belong to one goroutine at a time, and must not be copied after
// Init.
type Messages struct {
	Heads [Size]Header
	iov   [Size]unix.Iovec
}

// Init connects the headers with their pieces.
func (m *Messages) Init() {
	for i := range m.Heads {
		m.Heads[i].Iov = &m.iov[i]
		m.Heads[i].SetIovlen(1)
	}
}

// Put makes b the i-th message, or the room for it.
func (m *Messages) Put(i int, b []byte) {
	m.iov[i].Base = unsafe.SliceData(b)
	m.iov[i].SetLen(len(b))
}

// Receive fills the messages with what the socket has, at most Size, and gives their number. EAGAIN: it has nothing now.
func (m *Messages) Receive(fd uintptr) (int, unix.Errno) {
	return m.call(unix.SYS_RECVMMSG, fd, 0, Size)
}

// Send sends the messages from the first up to, not with, the end, and gives how many of them were sent. EAGAIN: the socket
// takes none now; another errno is the first one's fault.
func (m *Messages) Send(fd uintptr, first, end int) (int, unix.Errno) {
	return m.call(unix.SYS_SENDMMSG, fd, first, end)
}

func (m *Messages) call(number, fd uintptr, first, end int) (int, unix.Errno) {
	for {
		done, _, errno := unix.Syscall6(number, fd, uintptr(unsafe.Pointer(&m.Heads[first])), uintptr(end-first), 0, 0, 0)
		switch errno {
		case 0:
			return int(done), 0
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
