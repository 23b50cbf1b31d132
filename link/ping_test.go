package link

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"
)

// echo answers what leaves through the tunnel, as a remote router would, until the tunnel is closed.
func (l *lan) echo(change func(reply []byte)) {
	go func() {
		b := make([]byte, 2000)
		for {
			n, err := l.tun.Read(b)
			if err != nil {
				return
			}
			p := b[:n]
			if n < 28 || p[9] != 1 || p[20] != icmpEchoRequest {
				continue
			}
			reply := append([]byte(nil), p[20:]...)
			reply[0], reply[2], reply[3] = icmpEchoReply, 0, 0
			change(reply)
			sum := checksum(reply)
			reply[2], reply[3] = byte(sum>>8), byte(sum)
			src, dst := netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20]))
			_, _ = l.tun.Write(ipv4Packet(dst, src, 1, reply))
		}
	}()
}

func TestPinger(t *testing.T) {
	l := newLAN(t)
	l.echo(func([]byte) {})
	p := must(l.r.NewPinger(addr("100.127.0.1")))(t)
	replies := make(chan Reply, 16)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx, func(r Reply) { replies <- r }) }()
	ok(t, p.Send(addr("100.127.0.2"), 7, 0xfffe, 0))
	select {
	case r := <-replies:
		if r.From != addr("100.127.0.2") || r.ID != 7 || r.Seq != 0xfffe || r.RTT <= 0 || r.RTT > patience {
			t.Errorf("got %+v", r)
		}
	case <-time.After(patience):
		t.Fatal("no answer")
	}
	for _, size := range []int{MinEcho, 999, 1438} {
		ok(t, p.Send(addr("100.127.0.2"), 7, 1, size))
		select {
		case r := <-replies:
			if r.Size != size {
				t.Errorf("asked with %d bytes, answered with %d", size, r.Size)
			}
		case <-time.After(patience):
			t.Fatalf("no answer to %d bytes", size)
		}
	}
	if err := p.Send(addr("192.0.2.1"), 1, 1, 0); err == nil {
		t.Error("there is no route to 192.0.2.1 but sending succeeded")
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	ok(t, must(l.r.NewPinger(addr("100.127.0.9")))(t).Close()) // an address that is not set yet
}

func TestPingerTakesOnlyItsAnswers(t *testing.T) {
	p := &Pinger{cookie: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}}
	good := append([]byte{icmpEchoReply, 0, 0, 0, 0, 7, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8}, make([]byte, 8)...)
	if r, fine := p.parse(good, time.Second); !fine || r.ID != 7 || r.Seq != 9 || r.RTT != time.Second {
		t.Fatalf("got %+v, %v", r, fine)
	}
	for n := range good {
		if _, fine := p.parse(good[:n], time.Second); fine {
			t.Errorf("%d bytes accepted", n)
		}
	}
	for _, i := range []int{0, 8, 15, 16} {
		bad := append([]byte(nil), good...)
		bad[i] ^= 0x80
		if _, fine := p.parse(bad, time.Second); fine {
			t.Errorf("accepted with byte %d changed", i)
		}
	}
}
