package underlay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

const patience = 10 * time.Second

func quiet() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

func open(t testing.TB, c Config) *Socket {
	t.Helper()
	s, err := Open(c, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func on(addrs ...string) Config {
	var c Config
	for _, a := range addrs {
		c.Addrs = append(c.Addrs, netip.MustParseAddr(a))
	}
	return c
}

// arrival is a datagram that a running Socket has received.
type arrival struct {
	data      string
	from      netip.AddrPort
	handshake bool
}

// run starts a Socket and gives its datagrams one by one.
func run(t testing.TB, s *Socket) <-chan arrival {
	t.Helper()
	got := make(chan arrival, 10000)
	s.HandleESP(func(batch []byte, segment int, from netip.AddrPort) {
		for ; len(batch) > 0; batch = batch[min(segment, len(batch)):] {
			got <- arrival{string(batch[:min(segment, len(batch))]), from, false}
		}
	})
	s.HandleHandshake(func(msg []byte, from netip.AddrPort) { got <- arrival{string(msg), from, true} })
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

func next(t testing.TB, c <-chan arrival) arrival {
	t.Helper()
	select {
	case a := <-c:
		return a
	case <-time.After(patience):
		t.Fatal("nothing came")
		return arrival{}
	}
}

func at(addr string, s *Socket) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(addr), s.LocalPort())
}

func TestBatches(t *testing.T) {
	for _, c := range []struct {
		name      string
		gso, gro  bool
		addr      string
		segment   int
		last      int
		datagrams int
	}{
		{"gso and gro", true, true, "127.0.0.1", 1400, 1400, 40},
		{"last shorter", true, true, "127.0.0.1", 1400, 17, 40},
		{"more than one call takes", true, true, "127.0.0.1", 1400, 5, 130},
		{"small ones", true, true, "127.0.0.1", 40, 40, 300},
		{"without gso", false, true, "127.0.0.1", 1400, 17, 40},
		{"without gro", true, false, "127.0.0.1", 1400, 17, 40},
		{"without both", false, false, "127.0.0.1", 1400, 17, 40},
		{"one", true, true, "127.0.0.1", 1400, 1400, 1},
		{"giant", true, true, "127.0.0.1", 65507, 65507, 2},
		{"ipv6", true, true, "::1", 1400, 17, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, to := on(c.addr), on(c.addr)
			from.NoOffload, to.NoOffload = !c.gso, !c.gro
			a, b := open(t, from), open(t, to)
			got := run(t, b)
			var buf []byte
			var want []string
			for i := range c.datagrams {
				n := c.segment
				if i == c.datagrams-1 {
					n = c.last
				}
				d := bytes.Repeat([]byte{byte(i%250 + 1)}, n)
				buf = append(buf, d...)
				want = append(want, string(d))
			}
			if err := a.SendESP(at(c.addr, b), buf, c.segment); err != nil {
				t.Fatal(err)
			}
			for i, w := range want {
				if g := next(t, got); g.data != w || g.from != at(c.addr, a) || g.handshake {
					t.Fatalf("datagram %d: %d bytes from %s, want %d", i, len(g.data), g.from, len(w))
				}
			}
			if a.gso.Load() != c.gso {
				t.Errorf("gso is %v", a.gso.Load())
			}
		})
	}
}

func TestHandshakeAndESPShareThePort(t *testing.T) {
	a, b := open(t, on("127.0.0.1")), open(t, on("127.0.0.1"))
	got := run(t, b)
	if err := a.SendHandshake(at("127.0.0.1", b), []byte("init")); err != nil {
		t.Fatal(err)
	}
	if g := next(t, got); g.data != "init" || !g.handshake {
		t.Errorf("%+v", g)
	}
	if err := a.SendESP(at("127.0.0.1", b), []byte("esp-packet"), 10); err != nil {
		t.Fatal(err)
	}
	if g := next(t, got); g.data != "esp-packet" || g.handshake {
		t.Errorf("%+v", g)
	}
}

func TestHostileDatagrams(t *testing.T) {
	a, b := open(t, on("127.0.0.1")), open(t, on("127.0.0.1"))
	got := run(t, b)
	to := at("127.0.0.1", b)
	for _, d := range [][]byte{{}, {0}, {0xff}, {1, 2, 3}, {0, 0, 0, 0}, {9, 9, 9, 9}} {
		if _, err := a.conn.WriteToUDPAddrPort(d, to); err != nil {
			t.Fatal(err)
		}
	}
	giant := bytes.Repeat([]byte{7}, maxDatagram)
	if _, err := a.conn.WriteToUDPAddrPort(giant, to); err != nil {
		t.Fatal(err)
	}
	if g := next(t, got); g.data != string(giant) {
		t.Errorf("%d bytes", len(g.data))
	}
	if n := b.Drops()["short"]; n != 5 {
		t.Errorf("%d short ones counted, want 5", n)
	}
}

func TestListenErrors(t *testing.T) {
	first := open(t, on("127.0.0.1"))
	_, err := Listen(at("127.0.0.1", first), quiet())
	if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "in use, by another agent") {
		t.Errorf("second socket on the port: %v", err)
	}
	c := on("192.0.2.77")
	if _, err := Open(c, quiet()); !errors.Is(err, unix.EADDRNOTAVAIL) || !strings.Contains(err.Error(), "192.0.2.77") {
		t.Errorf("foreign address: %v", err)
	}
}

func TestEnd(t *testing.T) {
	before := runtime.NumGoroutine()
	for i := range 20 {
		s := open(t, on("127.0.0.1"))
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		want := error(context.Canceled)
		if i%2 == 0 {
			cancel()
		} else {
			want = net.ErrClosed
			_ = s.Close()
		}
		if err := <-done; !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
		if err := s.SendESP(at("127.0.0.1", s), []byte("late"), 4); !errors.Is(err, net.ErrClosed) {
			t.Errorf("late send: %v", err)
		}
		cancel()
	}
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		runtime.Gosched()
	}
}

func TestConcurrentSenders(t *testing.T) {
	a, b := open(t, on("127.0.0.1")), open(t, on("127.0.0.1"))
	got := run(t, b)
	for i := range 4 {
		go func() {
			for j := range 50 {
				_ = a.SendESP(at("127.0.0.1", b), fmt.Appendf(nil, "%05d%05d", i+1, j+1), 5)
				_ = a.SendHandshake(at("127.0.0.1", b), []byte("hs"))
			}
		}()
	}
	for range 4 * 50 * 3 {
		next(t, got)
	}
}
