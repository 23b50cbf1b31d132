package link

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Reply is an answer to an echo request of a Pinger.
type Reply struct {
	From    netip.Addr
	ID, Seq uint16
	Size    int // of the whole IP packet, bytes
	RTT     time.Duration
}

// Pinger sends ICMP echo requests from the router address and measures how long the answers take.
type Pinger struct {
	conn  *net.IPConn
	start time.Time
	// cookie is in every request, so that only answers to this Pinger's count; then comes the time of sending.
	cookie [8]byte
}

// echoSize is the least length of a request: header, cookie, nanoseconds since start. A longer one has zeros behind.
const echoSize = 8 + 8 + 8

// ipHeader is the length of an IPv4 header without options.
const ipHeader = 20

// MinEcho is the least size of an echo request, in bytes of the whole IP packet.
const MinEcho = ipHeader + echoSize

// NewPinger opens a raw ICMP socket in the router namespace. src, the router address, need not be set yet.
func (r *Router) NewPinger(src netip.Addr) (*Pinger, error) {
	p := &Pinger{start: time.Now()}
	if _, err := rand.Read(p.cookie[:]); err != nil {
		return nil, fmt.Errorf("pinger: %w", err)
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = setPingOptions(int(fd)) }), err)
	}}
	err := r.Do(func() error {
		conn, err := lc.ListenPacket(context.Background(), "ip4:icmp", src.String())
		if err != nil {
			return err
		}
		p.conn = conn.(*net.IPConn)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("pinger: %w", err)
	}
	return p, nil
}

func setPingOptions(fd int) error {
	const icmpFilter = 1 // ICMP_FILTER of linux/icmp.h: a mask of the types that are not wanted
	return errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1),
		// DF on every request, and no MTU but the device's obeyed: requests are what finds the path's MTU out (ip(7)).
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE),
		unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, ^(1<<icmpEchoReply)))
}

// Send sends one echo request of size bytes, the IP header included; anything below MinEcho is MinEcho. DF is set. It may
// be called concurrently.
func (p *Pinger) Send(dst netip.Addr, id, seq uint16, size int) error {
	length := max(size-ipHeader, echoSize)
	b := make([]byte, 8, length)
	b[0] = icmpEchoRequest
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], seq)
	b = append(b, p.cookie[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(time.Since(p.start)))
	b = b[:length]
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	if _, err := p.conn.WriteToIP(b, &net.IPAddr{IP: dst.AsSlice()}); err != nil {
		return fmt.Errorf("ping %s: %w", dst, err)
	}
	return nil
}

// Run hands each reply to fn until ctx is done, which closes the Pinger; its error is then that of ctx.
func (p *Pinger) Run(ctx context.Context, fn func(Reply)) error {
	stop := context.AfterFunc(ctx, func() { _ = p.conn.Close() })
	defer stop()
	buf := make([]byte, 1<<16)
	for {
		n, from, err := p.conn.ReadFromIP(buf)
		now := time.Since(p.start)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("pinger: %w", err)
		}
		if r, ok := p.parse(buf[:n], now); ok {
			addr, _ := netip.AddrFromSlice(from.IP)
			r.From = addr.Unmap()
			fn(r)
		}
	}
}

// parse decodes an answer; anything may come from other hosts.
func (p *Pinger) parse(b []byte, now time.Duration) (r Reply, ok bool) {
	if len(b) < echoSize || b[0] != icmpEchoReply || [8]byte(b[8:16]) != p.cookie {
		return r, false
	}
	sent := time.Duration(binary.BigEndian.Uint64(b[16:]))
	if sent < 0 || sent > now {
		return r, false
	}
	return Reply{ID: binary.BigEndian.Uint16(b[4:]), Seq: binary.BigEndian.Uint16(b[6:]), Size: ipHeader + len(b), RTT: now - sent}, true
}

// Close ends Run.
func (p *Pinger) Close() error { return p.conn.Close() }

// checksum is the Internet checksum (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
