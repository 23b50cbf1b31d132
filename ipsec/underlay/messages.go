package underlay

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is how many packets one system call sends or receives at most.
const batchSize = 64

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	head unix.Msghdr
	size uint32 // bytes received or sent
}

// messages are what one call takes, each in one piece.
type messages struct {
	heads [batchSize]mmsghdr
	iov   [batchSize]unix.Iovec
}

// init connects the headers with their pieces.
func (m *messages) init() {
	for i := range m.heads {
		m.heads[i].head.Iov = &m.iov[i]
		m.heads[i].head.SetIovlen(1)
	}
}

// put makes b the i-th message.
func (m *messages) put(i int, b []byte) {
	m.iov[i].Base = unsafe.SliceData(b)
	m.iov[i].SetLen(len(b))
}

// call makes the system call for the messages from i up to n, and gives how many of them it has done.
func (m *messages) call(number, fd uintptr, i, n int) (int, unix.Errno) {
	done, _, errno := unix.Syscall6(number, fd, uintptr(unsafe.Pointer(&m.heads[i])), uintptr(n-i), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(done), 0
}
