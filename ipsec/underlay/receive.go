package underlay

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// markerSize is the non-ESP marker: four zero bytes where ESP has its SPI (RFC 3948, section 2.2).
const markerSize = 4

// readSize holds whatever one read can give: UDP_GRO stops at 64 KiB.
const readSize = 1 << 16

// Run receives until ctx ends or the socket is closed, and calls the handlers. Errors that a hostile or dead peer can
// cause are counted, not returned.
func (s *Socket) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.Close() })
	defer stop()
	buf, control := make([]byte, readSize), make([]byte, 64)
	for {
		n, c, flags, from, err := s.conn.ReadMsgUDPAddrPort(buf, control)
		switch {
		case err == nil:
			s.receive(buf[:n], control[:c], flags, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("udp receive: %w", err)
		default:
			// Whatever came back is about one datagram or peer; the socket itself is still good.
			s.drops.add(sendReason(err), 1)
		}
	}
}

func (s *Socket) receive(buf, control []byte, flags int, from netip.AddrPort) {
	if flags&unix.MSG_TRUNC != 0 {
		s.drops.add(dropTruncated, 1)
		return
	}
	segment := segmentSize(control)
	if segment <= 0 || segment > len(buf) {
		segment = len(buf)
	}
	s.classify(buf, segment, from)
}

// classify hands out runs of ESP, as long as possible, and single handshake messages: one read can hold both.
func (s *Socket) classify(buf []byte, segment int, from netip.AddrPort) {
	if len(buf) == 0 {
		s.drops.add(dropShort, 1)
		return
	}
	start := 0 // of the run of ESP that ends at i
	for i := 0; i < len(buf); i += segment {
		d := buf[i:min(i+segment, len(buf))]
		if len(d) > markerSize && binary.BigEndian.Uint32(d) != 0 {
			continue
		}
		s.deliverESP(buf[start:i], segment, from)
		start = i + len(d)
		switch {
		case len(d) == 1 && d[0] == 0xff: // NAT keepalive (RFC 3948, section 2.3)
		case len(d) <= markerSize:
			s.drops.add(dropShort, 1)
		default:
			s.deliverHandshake(d[markerSize:], from)
		}
	}
	s.deliverESP(buf[start:], segment, from)
}

func (s *Socket) deliverESP(batch []byte, segment int, from netip.AddrPort) {
	if len(batch) == 0 {
		return
	}
	if h := s.esp.Load(); h != nil {
		(*h)(batch, segment, from)
		return
	}
	s.drops.add(dropNoHandler, (len(batch)+segment-1)/segment)
}

func (s *Socket) deliverHandshake(msg []byte, from netip.AddrPort) {
	if h := s.handshake.Load(); h != nil {
		(*h)(msg, from)
		return
	}
	s.drops.add(dropNoHandler, 1)
}

// segmentSize finds the UDP_GRO message: the size of each datagram of the read. 0: it holds one datagram.
func segmentSize(control []byte) int {
	for len(control) >= unix.SizeofCmsghdr {
		head, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return 0
		}
		if head.Level == unix.IPPROTO_UDP && head.Type == unix.UDP_GRO && len(data) >= 4 {
			return int(int32(binary.NativeEndian.Uint32(data)))
		}
		control = rest
	}
	return 0
}
