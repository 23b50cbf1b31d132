package mmsg

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func pair(t *testing.T) (a, b uintptr) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return uintptr(fds[0]), uintptr(fds[1])
}

func TestMessages(t *testing.T) {
	from, to := pair(t)
	var out, in Messages
	out.Init()
	in.Init()
	room := make([][]byte, Size)
	for i := range Size {
		room[i] = make([]byte, 8)
		in.Put(i, room[i])
	}
	if _, errno := in.Receive(to); errno != unix.EAGAIN {
		t.Fatalf("nothing was sent, and there is %v", errno)
	}
	for i := range 5 {
		out.Put(i, fmt.Append(nil, "message ", i)[:6+i]) // the first has six bytes, the last ten
	}
	if n, errno := out.Send(from, 1, 5); n != 4 || errno != 0 {
		t.Fatalf("%d were sent: %v", n, errno)
	}
	n, errno := in.Receive(to)
	if n != 4 || errno != 0 {
		t.Fatalf("%d were received: %v", n, errno)
	}
	for i := range n {
		want := fmt.Append(nil, "message ", i+1)[:7+i]
		if h := in.Heads[i]; (len(want) > 8) != (h.Flags&unix.MSG_TRUNC != 0) || int(h.Bytes) != min(len(want), 8) {
			t.Errorf("message %d: %d bytes, flags %#x", i, h.Bytes, h.Flags)
		} else if !bytes.Equal(room[i][:h.Bytes], want[:h.Bytes]) {
			t.Errorf("message %d: %q, want %q", i, room[i][:h.Bytes], want)
		}
	}
}

// TestErrorOfTheFirst: one that can't be sent does not hold up those before it, and is the next call's error.
func TestErrorOfTheFirst(t *testing.T) {
	from, _ := pair(t)
	var out Messages
	out.Init()
	out.Put(0, []byte("fits"))
	out.Put(1, []byte(strings.Repeat("x", 1<<22)))
	if n, errno := out.Send(from, 0, 2); n != 1 || errno != 0 {
		t.Fatalf("%d were sent: %v", n, errno)
	}
	if _, errno := out.Send(from, 1, 2); errno != unix.EMSGSIZE {
		t.Errorf("4 MiB: %v", errno)
	}
}

func TestCallsDoNotAllocate(t *testing.T) {
	from, to := pair(t)
	var out, in Messages
	out.Init()
	in.Init()
	out.Put(0, []byte("message"))
	in.Put(0, make([]byte, 8))
	if n := testing.AllocsPerRun(100, func() {
		out.Send(from, 0, 1)
		in.Receive(to)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
