package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	// receiveBuffer holds the answers to a batch of which every message fails, each with a copy of its header.
	receiveBuffer = 4 << 20
	// receiveTimeout bounds the wait for the kernel, which answers before the send returns.
	receiveTimeout = 10 * time.Second
)

// socket is a netlink socket for what a library's one-by-one requests are too slow or too clever for: batches of
// messages with one acknowledgement, and dumps as raw bytes. Not for concurrent use.
type socket struct {
	fd  int
	seq uint32
	buf []byte
}

// openSocket opens a socket of a netlink family (NETLINK_ROUTE, …) in a namespace.
func openSocket(ns netns.NsHandle, family int) (*socket, error) {
	s := &socket{fd: -1, buf: buffers.Get().(*buffer)[:]}
	err := inNamespace(ns, func() (err error) {
		s.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, family)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	tv := unix.NsecToTimeval(receiveTimeout.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer),
		unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.Bind(s.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	if err != nil {
		_ = s.close()
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	// Kernels before 4.3 and 4.20 lack these two: longer error messages, and lists that we filter ourselves.
	_ = unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	_ = unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	return s, nil
}

// buffer has room for the largest part of a list that the kernel makes.
type buffer [128 << 10]byte

// buffers are used again, because a thousand tunnels mean thousands of sockets.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

func (s *socket) close() error {
	b := s.buf[:cap(s.buf)]
	clear(b) // there may have been keys in it
	buffers.Put((*buffer)(b))
	s.buf = nil
	return unix.Close(s.fd)
}

// message is one netlink message without its header's sequence number.
type message struct {
	kind, flags uint16
	body        []byte
}

// send sends messages in one piece, numbered upwards from the number that it returns.
func (s *socket) send(msgs []message) (first uint32, err error) {
	first = s.seq + 1
	size := 0
	for _, m := range msgs {
		size += unix.SizeofNlMsghdr + len(m.body) + 3
	}
	out := make([]byte, 0, size) // grown, it would leave copies behind, and there may be keys in it
	defer func() { clear(out) }()
	for _, m := range msgs {
		s.seq++
		out = binary.NativeEndian.AppendUint32(out, uint32(unix.SizeofNlMsghdr+len(m.body)))
		out = binary.NativeEndian.AppendUint16(out, m.kind)
		out = binary.NativeEndian.AppendUint16(out, unix.NLM_F_REQUEST|m.flags)
		out = binary.NativeEndian.AppendUint32(out, s.seq)
		out = binary.NativeEndian.AppendUint32(out, 0)
		out = append(out, m.body...)
		out = append(out, make([]byte, -len(out)&3)...)
	}
	for {
		_, err := unix.Write(s.fd, out) // to the kernel, where nothing else was connected to
		if err == unix.EINTR {
			continue
		}
		return first, err
	}
}

// receive hands each message of one datagram to fn.
func (s *socket) receive(fn func(kind, flags uint16, seq uint32, body []byte) error) error {
	n, _, err := unix.Recvfrom(s.fd, s.buf, 0)
	if err == unix.EINTR {
		return s.receive(fn)
	}
	if err != nil {
		return err
	}
	for b := s.buf[:n]; len(b) >= unix.SizeofNlMsghdr; {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return errors.New("netlink: malformed message")
		}
		kind, flags := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:])
		if err := fn(kind, flags, binary.NativeEndian.Uint32(b[8:]), b[unix.SizeofNlMsghdr:size]); err != nil {
			return err
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return nil
}

// batch sends messages at once, with an acknowledgement asked for on the last only: the kernel reports failures unasked
// (net/netlink/af_netlink.c, netlink_rcv_skb). fail gets the index of each message that failed. An error of batch itself
// means that it is not known what was done.
func (s *socket) batch(msgs []message, fail func(i int, err error)) error {
	return s.exchange(msgs, func(int, []byte) {}, fail)
}

// exchange is batch for requests that are answered, each by one message or a failure.
func (s *socket) exchange(msgs []message, reply func(i int, body []byte), fail func(i int, err error)) error {
	msgs[len(msgs)-1].flags |= unix.NLM_F_ACK
	first, err := s.send(msgs)
	if err != nil {
		return err
	}
	last := s.seq
	for done := false; !done; {
		err := s.receive(func(kind, _ uint16, seq uint32, body []byte) error {
			if seq-first >= uint32(len(msgs)) {
				return nil
			}
			if kind != unix.NLMSG_ERROR {
				reply(int(seq-first), body)
				return nil
			}
			if len(body) < 4 {
				return nil
			}
			if errno := int32(binary.NativeEndian.Uint32(body)); errno != 0 {
				fail(int(seq-first), unix.Errno(-errno))
			}
			done = done || seq == last
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

var errInterrupted = errors.New("the list changed while it was read")

// dump fetches a list; fn gets each entry, valid until it returns. reset is called before each attempt.
func (s *socket) dump(m message, reset func(), fn func(body []byte)) error {
	m.flags |= unix.NLM_F_DUMP
	var err error
	for range listTries {
		reset()
		if err = s.dumpOnce(m, fn); !errors.Is(err, errInterrupted) {
			return err
		}
	}
	return err
}

func (s *socket) dumpOnce(m message, fn func(body []byte)) error {
	seq, err := s.send([]message{m})
	if err != nil {
		return err
	}
	interrupted := false
	for done := false; !done; {
		err := s.receive(func(kind, flags uint16, got uint32, body []byte) error {
			if got != seq {
				return nil
			}
			interrupted = interrupted || flags&unix.NLM_F_DUMP_INTR != 0
			if kind == unix.NLMSG_DONE || kind == unix.NLMSG_ERROR {
				done = true
				if len(body) >= 4 {
					if errno := int32(binary.NativeEndian.Uint32(body)); errno != 0 {
						return unix.Errno(-errno)
					}
				}
				return nil
			}
			fn(body)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if interrupted {
		return errInterrupted
	}
	return nil
}

// attr appends a netlink attribute.
func attr(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, -len(value)&3)...)
}

// attrTypeMask takes the flags "nested" and "network byte order" off an attribute's type (NLA_TYPE_MASK).
const attrTypeMask = 0x3fff

// attrs hands each attribute of b to fn.
func attrs(b []byte, fn func(kind uint16, value []byte)) {
	for len(b) >= 4 {
		size := int(binary.NativeEndian.Uint16(b))
		if size < 4 || size > len(b) {
			return
		}
		fn(binary.NativeEndian.Uint16(b[2:])&attrTypeMask, b[4:size])
		b = b[min((size+3)&^3, len(b)):]
	}
}
