package xfrm

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// flow is a ping that goes on in the background.
type flow struct {
	cmd *exec.Cmd
	out strings.Builder
}

// begin starts a flow with an interval of so many seconds; 0 packets: until finish.
func (h *host) begin(other *host, packets int, interval string) *flow {
	h.t.Helper()
	args := []string{"netns", "exec", h.cell, "ping", "-n", "-q", "-W", "2", "-i", interval}
	if packets > 0 {
		args = append(args, "-c", fmt.Sprint(packets))
	}
	f := &flow{cmd: exec.Command("ip", append(args, other.container.String())...)}
	f.cmd.Stdout = &f.out
	h.must(f.cmd.Start())
	h.t.Cleanup(func() { _ = f.cmd.Process.Kill(); _ = f.cmd.Wait() })
	return f
}

// finish ends a flow, and tells how many were sent and how many answered.
func (f *flow) finish(t testing.TB, interrupt bool) (sent, received int) {
	t.Helper()
	if interrupt {
		_ = f.cmd.Process.Signal(unix.SIGINT)
	}
	_ = f.cmd.Wait()
	for line := range strings.Lines(f.out.String()) {
		if n, _ := fmt.Sscanf(line, "%d packets transmitted, %d received", &sent, &received); n == 2 {
			return sent, received
		}
	}
	t.Fatalf("ping said: %s", f.out.String())
	return 0, 0
}

// lost fails the test if packets were, and says what both hosts have dropped.
func lost(t testing.TB, sent, received int, hosts ...*host) {
	t.Helper()
	if sent == received {
		return
	}
	t.Errorf("%d of %d lost", sent-received, sent)
	for _, h := range hosts {
		s, err := h.plane.Stats()
		t.Logf("%s: %+v %v", h.name, s, err)
	}
}
