package underlay

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMaxBatch(t *testing.T) {
	for segment, want := range map[int]int{1: 64, 1000: 64000, 1023: 65472, 1024: 63 * 1024, 1478: 44 * 1478, 65507: 65507, 65508: 65508, 1 << 17: 1 << 17} {
		if got := MaxBatch(segment); got != want {
			t.Errorf("segment %d: %d, want %d", segment, got, want)
		}
	}
}

// More segments than the kernel takes in one call stand for a kernel that takes none.
func TestFallsBackWithoutSegmentation(t *testing.T) {
	a, b := open(t, on("127.0.0.1")), open(t, on("127.0.0.1"))
	got := run(t, b)
	buf := bytes.Repeat([]byte("refused-call"), 600)
	if err := a.send(new(oob), at("127.0.0.1", b), netip.Addr{}, buf, 12); err != nil {
		t.Fatal(err)
	}
	for range 600 {
		if g := next(t, got); g.data != "refused-call" {
			t.Fatalf("%q", g.data)
		}
	}
	if a.gso.Load() {
		t.Error("segmentation is still thought to work")
	}
	if err := a.SendESP(at("127.0.0.1", b), buf[:24], 12); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		next(t, got)
	}
}

// A container with a raw socket chooses the size of its segments.
func TestSendSegmentSizes(t *testing.T) {
	for _, gso := range []bool{true, false} {
		a, b := open(t, on("127.0.0.1")), open(t, on("127.0.0.1"))
		a.gso.Store(gso)
		got := run(t, b)
		for _, segment := range []int{-1, 0, 6, 7, maxDatagram + 1, 1 << 17} {
			if err := a.SendESP(at("127.0.0.1", b), []byte("packet"), segment); err != nil {
				t.Fatal(segment, err)
			}
			if g := next(t, got); g.data != "packet" {
				t.Errorf("segment %d: %q", segment, g.data)
			}
		}
	}
}

// in runs fn in a new network namespace with a link up0 of 1,500 bytes MTU to nowhere.
func in(t *testing.T, fn func()) {
	t.Helper()
	if unix.Geteuid() != 0 {
		t.Skip("needs root, for a network namespace")
	}
	runtime.LockOSThread()
	old, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if unix.Setns(int(old.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread() // else the thread ends with the test
		}
	}()
	for _, args := range []string{
		"link set lo up", "link add up0 type veth peer name up1", "addr add 192.0.2.1/24 dev up0", "addr add 192.0.2.9/24 dev up0",
		"link set up0 up", "link set up1 up", "neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev up0",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	fn()
}

func TestNeverFragmented(t *testing.T) {
	in(t, func() {
		s := open(t, on("192.0.2.1"))
		to := netip.MustParseAddrPort("192.0.2.2:4500")
		if err := s.SendESP(to, make([]byte, 1472), 1472); err != nil {
			t.Errorf("a datagram that fits: %v", err)
		}
		for segment, buf := range map[int]int{1473: 1473, 2000: 20000} {
			before := s.Drops()["too-big"]
			if err := s.SendESP(to, make([]byte, buf), segment); !errors.Is(err, unix.EMSGSIZE) {
				t.Errorf("datagrams of %d bytes: %v", segment, err)
			}
			if n := s.Drops()["too-big"] - before; int(n) != buf/segment {
				t.Errorf("%d datagrams of %d bytes counted", n, segment)
			}
		}
		if !s.gso.Load() {
			t.Error("datagrams that are too big have turned segmentation off")
		}
	})
}

func TestSendErrorsAreCounted(t *testing.T) {
	in(t, func() {
		s := open(t, on("192.0.2.1"))
		if err := s.SendESP(netip.MustParseAddrPort("198.51.100.1:4500"), make([]byte, 100), 50); err == nil {
			t.Error("sent without a route")
		}
		if err := s.SendESP(netip.MustParseAddrPort("[2001:db8::1]:4500"), make([]byte, 100), 100); err == nil {
			t.Error("sent IPv6 on an IPv4 socket")
		}
		if d := s.Drops(); d["unreachable"] != 2 || d["send"] != 1 {
			t.Errorf("%v", d)
		}
	})
}

// Bound to the wildcard address, datagrams still come from an advertised one.
func TestSource(t *testing.T) {
	in(t, func() {
		b := open(t, on("127.0.0.1"))
		got := run(t, b)
		for _, c := range []struct {
			addrs []string
			want  string
		}{
			{[]string{"127.0.0.3", "127.0.0.2"}, "127.0.0.3"}, // the kernel would take 127.0.0.1
			{[]string{"127.0.0.2", "127.0.0.1"}, "127.0.0.1"}, // its choice is advertised
			{[]string{"127.0.0.2"}, "127.0.0.2"},
			{[]string{"2001:db8::1", "127.0.0.5"}, "127.0.0.5"},
			{nil, "127.0.0.1"},
		} {
			a := open(t, on(c.addrs...))
			for range 2 {
				if err := a.SendESP(at("127.0.0.1", b), []byte("ten-bytes.ten-bytes."), 10); err != nil {
					t.Errorf("%v: %v", c.addrs, err)
					continue
				}
				for range 2 {
					if g := next(t, got); g.from != at(c.want, a) {
						t.Errorf("%v: from %s, want %s", c.addrs, g.from, c.want)
					}
				}
			}
		}
	})
}

// An ICMP port unreachable of a dead peer is no error of the socket.
func TestPeerIsDead(t *testing.T) {
	a, dead, b := open(t, on("127.0.0.1")), open(t, on("127.0.0.1")), open(t, on("127.0.0.1"))
	to := at("127.0.0.1", dead)
	_ = dead.Close()
	back, got := run(t, a), run(t, b)
	for range 5 {
		if err := a.SendESP(to, []byte("anybody?"), 8); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
			t.Fatal(err)
		}
	}
	_ = a.SendESP(at("127.0.0.1", b), []byte("alive"), 5)
	next(t, got)
	if err := b.SendESP(at("127.0.0.1", a), []byte("alive"), 5); err != nil {
		t.Fatal(err)
	}
	next(t, back)
}
