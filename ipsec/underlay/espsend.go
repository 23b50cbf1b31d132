package underlay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/mmsg"
)

// sender holds what one call of Send needs. It belongs to one goroutine at a time.
type sender struct {
	mmsg.Messages
	to      unix.RawSockaddrInet4
	control oob
	next    int // first message that has not been sent
	count   int
	drops   *drops
	last    error                 // of a message that was not sent
	call    func(fd uintptr) bool // made once: a closure for each send would allocate
}

func newSender(d *drops) *sender {
	s := &sender{drops: d}
	s.Init()
	s.to.Family = unix.AF_INET
	for i := range s.Heads {
		s.Heads[i].Name = (*byte)(unsafe.Pointer(&s.to))
		s.Heads[i].Namelen = unix.SizeofSockaddrInet4
	}
	s.call = s.send
	return s
}

// Send sends buf as packets of segment bytes each, of which the last may be shorter. Packets that could not be sent are
// counted in Drops; the error is the last one's cause, and net.ErrClosed after Close.
func (s *ESPSocket) Send(to netip.Addr, buf []byte, segment int) error {
	m := s.senders.Get().(*sender)
	defer s.senders.Put(m)
	var source netip.Addr
	if s.sources != nil {
		source = s.sources.to(to)
	}
	m.address(to, source)
	m.last = nil
	for len(buf) > 0 {
		buf = m.fill(buf, segment)
		if err := s.raw.Write(m.call); err != nil {
			if errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed) {
				err = net.ErrClosed
			}
			return fmt.Errorf("send esp: %w", err)
		}
	}
	if m.last != nil && s.sources != nil {
		s.sources.forget(to)
	}
	return m.last
}

// address sets where the messages go and, if source is valid, where from.
func (m *sender) address(to, source netip.Addr) {
	m.to.Addr = to.As4()
	control := appendSource(m.control.buf[:0], source, false)
	for i := range m.Heads {
		m.Heads[i].Control = nil
		if len(control) > 0 {
			m.Heads[i].Control = unsafe.SliceData(control)
		}
		m.Heads[i].SetControllen(len(control))
	}
}

// fill takes as many packets as fit, and gives the rest.
func (m *sender) fill(buf []byte, segment int) []byte {
	m.next, m.count = 0, 0
	for m.count < mmsg.Size && len(buf) > 0 {
		n := min(max(segment, 1), len(buf))
		m.Put(m.count, buf[:n])
		m.count++
		buf = buf[n:]
	}
	return buf
}

// send is called when the socket can be written to; false: call again when it can be once more.
func (m *sender) send(fd uintptr) bool {
	for m.next < m.count {
		n, errno := m.Messages.Send(fd, m.next, m.count)
		switch errno {
		case 0:
			m.next += n
		case unix.EAGAIN:
			return false
		default: // of the first message of the call; the next ones may do better
			m.last = errno
			m.drops.add(sendReason(errno), 1)
			m.next++
		}
	}
	return true
}
