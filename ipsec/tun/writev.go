package tun

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxPieces is how many payloads a written packet is made of at most: as many datagrams as one read gives.
const maxPieces = 64

// writev writes packets that lie in pieces. It belongs to one goroutine.
type writev struct {
	vnet [vnetSize]byte
	iov  [1 + maxPieces]unix.Iovec
	n    int
	err  error
	call func(fd uintptr) bool // made once: a closure for each write would allocate
}

func (w *writev) init() {
	w.call = func(fd uintptr) bool {
		_, _, e := unix.Syscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&w.iov)), uintptr(w.n))
		if e == unix.EAGAIN {
			return false
		}
		w.err = nil
		if e != 0 {
			w.err = e
		}
		return true
	}
}

// start begins a packet with its vnet header.
func (w *writev) start(h vnet) {
	h.put(w.vnet[:])
	w.n = 0
	w.add(w.vnet[:])
}

// add appends a piece, which must not be empty; there must be room.
func (w *writev) add(b []byte) {
	w.iov[w.n].Base = unsafe.SliceData(b)
	w.iov[w.n].SetLen(len(b))
	w.n++
}

// full says that the packet has as many pieces as it can have.
func (w *writev) full() bool { return w.n == len(w.iov) }

// to writes what was added as one packet.
func (w *writev) to(raw syscall.RawConn) error {
	if err := raw.Write(w.call); err != nil {
		return err
	}
	return w.err
}
