package testnet

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Flow is pings that go on, one every 10 ms, until Stop, answered or not.
type Flow struct {
	cmd  *exec.Cmd
	done chan struct{}
	last atomic.Int64 // sequence number of the last answer
	got  atomic.Int64 // answers
}

// StartFlow starts pinging, full of the canary, and returns when the first answer is there.
func (c *Container) StartFlow(ctx context.Context, canary [16]byte, to netip.Addr) (*Flow, error) {
	// In the container's network namespace, but not as its process: the flow goes on when dockerd dies.
	f := &Flow{done: make(chan struct{})}
	f.cmd = c.Host.Command(context.Background(), "nsenter", "--net="+c.netns, filepath.Join(c.Host.cluster.dir, "probe"),
		"ping", "-canary", hex.EncodeToString(canary[:]), "-count", "0", "-interval", "10ms", to.String())
	var complaint strings.Builder
	f.cmd.Stderr = &complaint
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := f.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(f.done)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var reply struct{ Seq int64 }
			if json.Unmarshal(lines.Bytes(), &reply) == nil {
				f.got.Add(1) // first: between the two Lost is too low, not too high
				f.last.Store(reply.Seq)
			}
		}
		_ = f.cmd.Wait() // it ends by a signal
	}()
	if err := f.Goes(ctx, 10*time.Second); err != nil {
		f.Stop()
		return nil, fmt.Errorf("%s to %s: %w: %s", c.Name, to, err, complaint.String())
	}
	return f, nil
}

// Goes returns when ten more answers have come, or with an error after limit.
func (f *Flow) Goes(ctx context.Context, limit time.Duration) error { return f.more(ctx, limit, 10) }

// Next returns when one more answer has come, or with an error after limit.
func (f *Flow) Next(ctx context.Context, limit time.Duration) error { return f.more(ctx, limit, 1) }

func (f *Flow) more(ctx context.Context, limit time.Duration, answers int64) error {
	from := f.got.Load()
	return Until(ctx, limit, func() error {
		select {
		case <-f.done:
			return Final(fmt.Errorf("the flow has ended"))
		default:
		}
		if n := f.got.Load() - from; n < answers {
			return fmt.Errorf("%d answers", n)
		}
		return nil
	})
}

// Lost is how many requests until the last answer stayed unanswered.
func (f *Flow) Lost() int { return int(f.last.Load() - f.got.Load()) }

// Stop ends the flow and gives what it has Lost.
func (f *Flow) Stop() (lost int) {
	_ = unix.Kill(-f.cmd.Process.Pid, unix.SIGKILL)
	<-f.done
	return f.Lost()
}
