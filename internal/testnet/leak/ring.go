package leak

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is a packet socket's receive ring (packet_mmap.rst of the kernel's documentation, TPACKET_V3). The kernel copies each
// frame into it while the frame passes. Reading from the socket instead gives a clone that shares its pages with the frame
// itself, and a receiver that decrypts ESP in place, as the kernel's does, would put plain text into what had crossed as
// cipher text.
type ring struct {
	fd    int
	mem   []byte
	block int // the next to be read
}

const (
	// A block is handed over when it is full, or after retireMS with little in it: there are as many as a reader that gets no
	// processor for ten seconds needs.
	blockSize = 1 << 17
	blocks    = 1024
	retireMS  = 10

	// Offsets in struct tpacket_block_desc and struct tpacket3_hdr (linux/if_packet.h).
	blockStatus, blockCount, blockFirst = 8, 12, 16
	frameNext, frameSnap, frameLen      = 0, 12, 16
	frameMAC                            = 24
	framePktType                        = unix.SizeofTpacket3Hdr + 10 // of the struct sockaddr_ll behind the header
)

// openRing opens a packet socket that sees every frame of the calling thread's namespace.
func openRing() (*ring, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	r := &ring{fd: fd}
	req := unix.TpacketReq3{Block_size: blockSize, Block_nr: blocks, Frame_size: blockSize, Frame_nr: blocks, Retire_blk_tov: retireMS}
	// Nobody looks at these, and one that is flooded goes out at every port. Kernels before 4.20 can't leave them out.
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3)
	if err == nil {
		err = unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req)
	}
	if err == nil {
		r.mem, err = unix.Mmap(fd, 0, blockSize*blocks, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err == nil { // from here on it sees frames: none before had the ring
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL)})
	}
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// read gives each frame of the next block to fn, which may keep it until it returns. false: there is none yet.
func (r *ring) read(fn func(kind uint8, frame []byte)) (bool, error) {
	b := r.mem[r.block*blockSize:][:blockSize]
	status := (*uint32)(unsafe.Pointer(&b[blockStatus]))
	if atomic.LoadUint32(status)&unix.TP_STATUS_USER == 0 {
		return false, nil
	}
	field := func(at int) int { return int(binary.NativeEndian.Uint32(b[at:])) }
	at := field(blockFirst)
	for range field(blockCount) {
		n, whole := field(at+frameSnap), field(at+frameLen)
		if n != whole {
			return false, fmt.Errorf("a frame of %d bytes was cut to %d", whole, n)
		}
		start := at + int(binary.NativeEndian.Uint16(b[at+frameMAC:]))
		fn(b[at+framePktType], b[start:start+n])
		at += field(at + frameNext)
	}
	atomic.StoreUint32(status, unix.TP_STATUS_KERNEL)
	r.block = (r.block + 1) % blocks
	return true, nil
}

// drops gives how many frames found no room since it was called last.
func (r *ring) drops() (uint32, error) {
	s, err := unix.GetsockoptTpacketStatsV3(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0, err
	}
	return s.Drops, nil
}

// wait returns when there may be something to read; false: when wake became readable.
func (r *ring) wait(wake int) (bool, error) {
	poll := []unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}, {Fd: int32(wake), Events: unix.POLLIN}}
	if _, err := unix.Poll(poll, -1); err != nil && !errors.Is(err, unix.EINTR) {
		return false, err
	}
	if poll[0].Revents&unix.POLLERR != 0 { // a link went down, which the socket tells once
		_, _ = unix.GetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	}
	return poll[1].Revents == 0, nil
}

func (r *ring) close() error {
	var err error
	if r.mem != nil {
		err = unix.Munmap(r.mem)
	}
	return errors.Join(err, unix.Close(r.fd))
}
