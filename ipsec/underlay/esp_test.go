package underlay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func openESP(t testing.TB, addrs ...string) *ESPSocket {
	t.Helper()
	if unix.Geteuid() != 0 {
		t.Skip("needs root, for a raw socket")
	}
	s, err := OpenESP(on(addrs...).Addrs, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// runESP starts the socket and gives its packets one by one.
func runESP(t testing.TB, s *ESPSocket) <-chan arrival {
	t.Helper()
	got := make(chan arrival, 10000)
	s.Handle(func(packets [][]byte, from netip.Addr) {
		for _, p := range packets {
			got <- arrival{data: string(p), from: netip.AddrPortFrom(from, 0)}
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) && !errors.Is(err, net.ErrClosed) {
			t.Errorf("run: %v", err)
		}
	})
	return got
}

func TestESPBatches(t *testing.T) {
	for _, c := range []struct{ segment, last, packets int }{
		{1400, 1400, 1}, {1400, 17, 40}, {1400, 1400, 200}, {40, 1, 300}, {9000, 8999, 130},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			a, b := openESP(t, "127.0.0.2"), openESP(t, "127.0.0.3")
			got := runESP(t, b)
			var buf []byte
			var want []string
			for i := range c.packets {
				n := c.segment
				if i == c.packets-1 {
					n = c.last
				}
				want = append(want, strings.Repeat(string(rune('a'+i%26)), n))
				buf = append(buf, want[i]...)
			}
			if err := a.Send(netip.MustParseAddr("127.0.0.3"), buf, c.segment); err != nil {
				t.Fatal(err)
			}
			for i, w := range want {
				if g := next(t, got); g.data != w || g.from.Addr() != netip.MustParseAddr("127.0.0.2") {
					t.Fatalf("packet %d: %d bytes from %s, want %d", i, len(g.data), g.from, len(w))
				}
			}
		})
	}
}

// With several addresses packets leave from an advertised one, whatever the route says.
func TestESPSource(t *testing.T) {
	a, b := openESP(t, "127.0.0.5", "127.0.0.6"), openESP(t, "127.0.0.3")
	got := runESP(t, b)
	if err := a.Send(netip.MustParseAddr("127.0.0.3"), []byte("packet"), 6); err != nil {
		t.Fatal(err)
	}
	if g := next(t, got); g.from.Addr() != netip.MustParseAddr("127.0.0.5") {
		t.Errorf("from %s", g.from)
	}
}

func TestESPErrors(t *testing.T) {
	if _, err := OpenESP(on("2001:db8::1").Addrs, quiet()); err == nil || !strings.Contains(err.Error(), "IPv4") {
		t.Errorf("IPv6: %v", err)
	}
	a := openESP(t, "127.0.0.2")
	if _, err := OpenESP(on("192.0.2.77").Addrs, quiet()); !errors.Is(err, unix.EADDRNOTAVAIL) || !strings.Contains(err.Error(), "192.0.2.77") {
		t.Errorf("foreign address: %v", err)
	}
	// The one that is too long for the link is lost, the others arrive.
	b := openESP(t, "127.0.0.3")
	got := runESP(t, b)
	to := netip.MustParseAddr("127.0.0.3")
	if err := a.Send(to, bytes.Repeat([]byte{1}, 65530), 65530); !errors.Is(err, unix.EMSGSIZE) || a.Drops()["too-big"] != 1 {
		t.Errorf("giant: %v, %v", err, a.Drops())
	}
	if err := a.Send(to, bytes.Repeat([]byte{1}, packetSize+1), packetSize+1); err != nil {
		t.Error(err)
	}
	if err := a.Send(to, []byte("packet"), 6); err != nil {
		t.Error(err)
	}
	if g := next(t, got); g.data != "packet" {
		t.Errorf("%d bytes", len(g.data))
	}
	if b.Drops()["truncated"] != 1 {
		t.Errorf("%v", b.Drops())
	}
	_ = a.Close()
	if err := a.Send(to, []byte("late"), 4); !errors.Is(err, net.ErrClosed) {
		t.Errorf("late send: %v", err)
	}
	if err := a.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("late run: %v", err)
	}
}

// Without a handler packets are counted. The kernel does not answer them, or every host of a mesh would get its peers'
// complaints; nor are they fragmented on their way.
func TestESPIsNotRefused(t *testing.T) {
	b := openESP(t, "127.0.0.3")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = b.Run(ctx) }()
	pc, err := net.ListenPacket("ip4:1", "127.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	a := openESP(t, "127.0.0.2")
	if err := a.Send(netip.MustParseAddr("127.0.0.3"), []byte("packet"), 6); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); b.Drops()["no-handler"] == 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("nothing came")
		}
	}
	// Our own message to the ICMP socket comes behind any answer of the kernel.
	if _, err := pc.WriteTo([]byte{8, 0, 0, 0, 'e', 'n', 'd', 0}, &net.IPAddr{IP: net.IPv4(127, 0, 0, 2)}); err != nil {
		t.Fatal(err)
	}
	msg := make([]byte, 100)
	if n, _, err := pc.ReadFrom(msg); err != nil || !bytes.Contains(msg[:n], []byte("end")) {
		t.Errorf("the kernel answered with ICMP: %x, %v", msg[:n], err)
	}
	// So it would without the socket.
	_ = b.Close()
	if err := a.Send(netip.MustParseAddr("127.0.0.3"), []byte("packet"), 6); err != nil {
		t.Fatal(err)
	}
	if n, _, err := pc.ReadFrom(msg); err != nil || n < 2 || msg[0] != 3 || msg[1] != 2 {
		t.Errorf("no protocol unreachable: %x, %v", msg[:n], err)
	}
	var mode int
	err = a.raw.Control(func(fd uintptr) { mode, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER) })
	if err != nil || mode != unix.IP_PMTUDISC_PROBE {
		t.Errorf("don't fragment: mode %d, %v", mode, err)
	}
}

func FuzzStripIPv4(f *testing.F) {
	f.Add([]byte{0x45})
	f.Add(append([]byte{0x46}, make([]byte, 30)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, from, ok := stripIPv4(b); ok && (len(p) == 0 || !from.Is4()) {
			t.Errorf("%x from %s", p, from)
		}
	})
}
