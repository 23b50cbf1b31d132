package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeKernel is the other end of a socket: it answers each request with the next of its answers, each a list of
// datagrams.
func fakeKernel(t *testing.T, answers ...func(seq uint32) [][]byte) *socket {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	ok(t, err)
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = unix.Close(fds[0])
		<-done
		_ = unix.Close(fds[1])
	})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for _, answer := range answers {
			n, err := unix.Read(fds[1], buf)
			if err != nil || n < unix.SizeofNlMsghdr {
				return
			}
			for _, d := range answer(binary.NativeEndian.Uint32(buf[8:])) {
				_, _ = unix.Write(fds[1], d)
			}
		}
	}()
	return &socket{fd: fds[0], buf: make([]byte, 1<<16)}
}

// said is a message as the kernel sends it.
func said(kind, flags uint16, seq uint32, body ...byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	return append(binary.NativeEndian.AppendUint32(b, 0), body...)
}

func errno(e unix.Errno) []byte {
	return binary.NativeEndian.AppendUint32(nil, uint32(-int32(e)))
}

const entry = unix.RTM_NEWROUTE

// listed answers a dump with entries of one byte each.
func listed(flags uint16, end unix.Errno, entries ...byte) func(uint32) [][]byte {
	return func(seq uint32) (all [][]byte) {
		all = append(all, said(entry, 0, seq-1, 99)) // of a request before
		for _, e := range entries {
			all = append(all, said(entry, flags, seq, e))
		}
		return append(all, said(unix.NLMSG_DONE, 0, seq, errno(end)...))
	}
}

func dumpOf(s *socket) (got []byte, err error) {
	err = s.dump(message{kind: unix.RTM_GETROUTE}, func() { got = nil }, func(b []byte) { got = append(got, b...) })
	return got, err
}

// A list that changed while it was read is read again, and given up only if it never holds still.
func TestInterruptedDump(t *testing.T) {
	whole := listed(0, 0, 1, 2, 3)
	cut := listed(unix.NLM_F_DUMP_INTR, 0, 1, 3)
	got, err := dumpOf(fakeKernel(t, cut, cut, whole))
	if err != nil || !slices.Equal(got, []byte{1, 2, 3}) {
		t.Errorf("%v %v", got, err)
	}
	all := slices.Repeat([]func(uint32) [][]byte{cut}, listTries)
	if _, err := dumpOf(fakeKernel(t, all...)); !errors.Is(err, errInterrupted) {
		t.Errorf("never whole: %v", err)
	}
	// The flag may be in the end of the list only.
	last := func(seq uint32) [][]byte {
		return [][]byte{said(entry, 0, seq, 1), said(unix.NLMSG_DONE, unix.NLM_F_DUMP_INTR, seq, errno(0)...)}
	}
	if got, err := dumpOf(fakeKernel(t, last, whole)); err != nil || len(got) != 3 {
		t.Errorf("%v %v", got, err)
	}
}

func TestDumpThatFails(t *testing.T) {
	for _, e := range []unix.Errno{unix.EINTR, unix.ENOBUFS, unix.EAGAIN, unix.EPERM} {
		if _, err := dumpOf(fakeKernel(t, listed(0, e, 1))); !errors.Is(err, e) {
			t.Errorf("%v at the end: %v", e, err)
		}
		refused := func(seq uint32) [][]byte { return [][]byte{said(unix.NLMSG_ERROR, 0, seq, errno(e)...)} }
		if _, err := dumpOf(fakeKernel(t, refused)); !errors.Is(err, e) {
			t.Errorf("%v at once: %v", e, err)
		}
	}
	for name, d := range map[string][]byte{
		"longer than the datagram": binary.NativeEndian.AppendUint32(nil, 64),
		"shorter than a header":    binary.NativeEndian.AppendUint32(nil, 7),
	} {
		d = append(d, make([]byte, 16)...)
		if _, err := dumpOf(fakeKernel(t, func(uint32) [][]byte { return [][]byte{d} })); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Signals interrupt the wait for the kernel; the answer is waited for all the same.
func TestSignalsDoNotEndTheWait(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread := unix.Gettid()
	s := fakeKernel(t, func(seq uint32) [][]byte {
		for range 20 {
			_ = unix.Tgkill(unix.Getpid(), thread, unix.SIGURG) // which Go's runtime takes for its own
			runtime.Gosched()
		}
		return [][]byte{said(entry, 0, seq, 7), said(unix.NLMSG_ERROR, 0, seq, errno(0)...)}
	})
	tv := unix.NsecToTimeval(patience.Nanoseconds()) // with a timeout the kernel never goes on by itself
	ok(t, unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
	var got []byte
	ok(t, s.exchange([]message{{kind: unix.RTM_GETROUTE}}, func(_ int, b []byte) { got = append(got, b...) }, func(_ int, err error) { t.Error(err) }))
	if !slices.Equal(got, []byte{7}) {
		t.Errorf("%v", got)
	}
}

// When the kernel's answers don't fit into the socket's buffer, some are lost, and so is what is known of the batch: that
// is an error, and a new socket finds what was done.
func TestAnswersThatOverflow(t *testing.T) {
	w := newWorld(t)
	s, err := openSocket(w.r.ns, unix.NETLINK_ROUTE)
	ok(t, err)
	defer func() { _ = s.close() }()
	ok(t, unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 2048))
	var msgs []message
	for i := range 500 { // each is refused: there is no such device
		c := routeChange{dst: manyRoutes(500)[i].Dst, row: routeRow{dev: 9999}}
		msgs = append(msgs, c.message())
	}
	failures := 0
	err = s.batch(msgs, func(int, error) { failures++ })
	if !errors.Is(err, unix.ENOBUFS) {
		t.Errorf("%d failures reported, and %v", failures, err)
	}
	again, err := openSocket(w.r.ns, unix.NETLINK_ROUTE)
	ok(t, err)
	defer func() { _ = again.close() }()
	failures = 0
	ok(t, again.batch(msgs, func(int, error) { failures++ }))
	if failures != len(msgs) {
		t.Errorf("%d of %d failures reported", failures, len(msgs))
	}
	if _, err := listRoutes(again); err != nil {
		t.Error(err)
	}
}

// A real list under changes is whole or an error, never a part of it.
func TestDumpUnderChanges(t *testing.T) {
	w := newWorld(t)
	const links = 60
	s, err := openSocket(w.r.ns, unix.NETLINK_ROUTE)
	ok(t, err)
	defer func() { _ = s.close() }()
	s.buf = s.buf[:4096] // the kernel's parts are no larger
	add := func(s *socket, name string) {
		b := attr(make([]byte, unix.SizeofIfInfomsg), unix.IFLA_IFNAME, append([]byte(name), 0))
		b = attr(b, unix.IFLA_LINKINFO, attr(nil, unix.IFLA_INFO_KIND, []byte("bridge")))
		ok(t, s.batch([]message{{kind: unix.RTM_NEWLINK, flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, body: b}}, func(_ int, err error) { t.Error(err) }))
	}
	for i := range links {
		add(s, fmt.Sprintf("still%d", i))
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		other, err := openSocket(w.r.ns, unix.NETLINK_ROUTE)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = other.close() }()
		for {
			select {
			case <-stop:
				return
			default:
				add(other, "moving")
				b := attr(make([]byte, unix.SizeofIfInfomsg), unix.IFLA_IFNAME, []byte("moving\x00"))
				_ = other.batch([]message{{kind: unix.RTM_DELLINK, body: b}}, func(int, error) {})
			}
		}
	}()
	whole := 0
	for end := time.Now().Add(patience); whole < 5 && time.Now().Before(end); {
		seen := 0
		err := s.dump(message{kind: unix.RTM_GETLINK, body: make([]byte, unix.SizeofIfInfomsg)}, func() { seen = 0 }, func(b []byte) {
			named(b[unix.SizeofIfInfomsg:], unix.IFLA_IFNAME, func(name string) bool {
				if len(name) > 5 && name[:5] == "still" {
					seen++
				}
				return false
			})
		})
		switch {
		case errors.Is(err, errInterrupted):
		case err != nil:
			t.Fatal(err)
		case seen != links:
			t.Fatalf("%d of %d links in a list that is said to be whole", seen, links)
		default:
			whole++
		}
	}
	close(stop)
	<-stopped
	if whole == 0 {
		t.Error("never a whole list")
	}
}
