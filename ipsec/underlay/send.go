package underlay

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxSegments is UDP_MAX_SEGMENTS of kernels before 6.9, which refuse more datagrams in one call.
const maxSegments = 64

// MaxBatch gives how many bytes of datagrams of segment bytes each, at least 1, go out in one call at most: one datagram or
// more.
func MaxBatch(segment int) int { return max(1, min(maxSegments, maxDatagram/segment)) * segment }

// oob is room for the control messages of one send: UDP_SEGMENT and the source address.
type oob struct{ buf [128]byte }

// SendHandshake sends msg behind the non-ESP marker.
func (s *Socket) SendHandshake(to netip.AddrPort, msg []byte) error {
	d := make([]byte, markerSize, markerSize+len(msg))
	return s.SendESP(to, append(d, msg...), markerSize+len(msg))
}

// SendKeepalive sends a NAT keepalive (RFC 3948, section 2.3), which its receiver ignores. It keeps the mapping of a NAT on
// the way, and no more: a lost one is not worth an error.
func (s *Socket) SendKeepalive(to netip.AddrPort) { _ = s.SendESP(to, []byte{0xff}, 1) }

// SendESP sends buf as datagrams of segment bytes each, of which the last may be shorter: in one call where the kernel
// can, else one by one. A segment longer than buf, or below 1, is all of buf. Datagrams that could not be sent are counted
// in Drops; the error is the last one's cause, and net.ErrClosed after Close.
func (s *Socket) SendESP(to netip.AddrPort, buf []byte, segment int) error {
	o := s.oobs.Get().(*oob)
	defer s.oobs.Put(o)
	var source netip.Addr
	if s.sources != nil {
		source = s.sources.to(to.Addr().Unmap())
	}
	if s.six {
		to = netip.AddrPortFrom(netip.AddrFrom16(to.Addr().As16()), to.Port())
	}
	if segment < 1 || segment > len(buf) {
		segment = len(buf)
	}
	var last error
	for len(buf) > 0 {
		n := min(len(buf), segment)
		if s.gso.Load() {
			n = min(len(buf), MaxBatch(segment))
		}
		if err := s.send(o, to, source, buf[:n], segment); err != nil {
			last = err
			if errors.Is(err, net.ErrClosed) {
				return err
			}
		}
		buf = buf[n:]
	}
	return last
}

// send makes one call, and if the kernel refuses several datagrams in it, one for each.
func (s *Socket) send(o *oob, to netip.AddrPort, source netip.Addr, buf []byte, segment int) error {
	if len(buf) <= segment {
		return s.sendOne(o, to, source, buf)
	}
	control := appendSegment(appendSource(o.buf[:0], source, s.six), segment)
	_, _, err := s.conn.WriteMsgUDPAddrPort(buf, control, to)
	if err == nil {
		return nil
	}
	if !noSegmentation(err) {
		s.failed(to, err, (len(buf)+segment-1)/segment)
		return err
	}
	err = nil
	for len(buf) > 0 {
		n := min(len(buf), segment)
		if e := s.sendOne(o, to, source, buf[:n]); e != nil {
			err = e
		}
		buf = buf[n:]
	}
	// Only if the same bytes do go out one by one was it the segmentation that the kernel refused.
	if err == nil && s.gso.CompareAndSwap(true, false) {
		s.log.WithField("addr", to).Info("no udp send offload, datagrams are sent one by one")
	}
	return err
}

func (s *Socket) sendOne(o *oob, to netip.AddrPort, source netip.Addr, d []byte) error {
	_, _, err := s.conn.WriteMsgUDPAddrPort(d, appendSource(o.buf[:0], source, s.six), to)
	if err != nil {
		s.failed(to, err, 1)
	}
	return err
}

func (s *Socket) failed(to netip.AddrPort, err error, datagrams int) {
	s.drops.add(sendReason(err), datagrams)
	if s.sources != nil {
		s.sources.forget(to.Addr().Unmap())
	}
}

// noSegmentation reports the errors of a kernel or device without UDP_SEGMENT: EINVAL of kernels before 4.18 (the
// control message is unknown) and for segments above the MTU, EIO where the device can't make checksums (udp(7)).
func noSegmentation(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EIO) || errors.Is(err, unix.EOPNOTSUPP) ||
		errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EMSGSIZE)
}

func sendReason(err error) reason {
	switch {
	case errors.Is(err, unix.EMSGSIZE):
		return dropTooBig
	case errors.Is(err, unix.ECONNREFUSED):
		return dropRefused
	case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EAGAIN):
		return dropNoBuffer
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETDOWN):
		return dropUnreachable
	}
	return dropSend
}

// appendSegment adds the control message that makes the kernel cut the buffer into datagrams.
func appendSegment(control []byte, segment int) []byte {
	control, data := appendHeader(control, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 2)
	binary.NativeEndian.PutUint16(data, uint16(segment))
	return control
}

// appendSource adds the control message that names the local address, if source is valid.
func appendSource(control []byte, source netip.Addr, six bool) []byte {
	switch {
	case !source.IsValid():
	case six:
		var data []byte
		control, data = appendHeader(control, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
		a := source.As16()
		copy(data, a[:])
	default:
		var data []byte
		control, data = appendHeader(control, unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)
		a := source.As4()
		copy(data[4:], a[:]) // ipi_spec_dst (ip(7))
	}
	return control
}

// appendHeader adds a zeroed control message within control's capacity and returns its data.
func appendHeader(control []byte, level, kind int32, size int) (_, data []byte) {
	at := len(control)
	control = control[:at+unix.CmsgSpace(size)]
	clear(control[at:])
	head := (*unix.Cmsghdr)(unsafe.Pointer(&control[at]))
	head.Level, head.Type = level, kind
	head.SetLen(unix.CmsgLen(size))
	return control, control[at+unix.CmsgLen(0):][:size]
}
