package testnet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process runs inside a host until it ends by itself, is signalled, or the host is closed.
type Process struct {
	cmd  *exec.Cmd
	log  string // file
	done chan struct{}
}

// Start starts a long-running command on the host, with env added to its environment. Both its streams are appended to <log>.log
// in the host's directory.
func (h *Host) Start(log string, env []string, name string, args ...string) (*Process, error) {
	p := &Process{
		cmd:  h.space.command(context.Background(), name, args...),
		log:  filepath.Join(h.Dir(), log+".log"),
		done: make(chan struct{}),
	}
	file, err := os.OpenFile(p.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	p.cmd.Env = append(p.cmd.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = file, file
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", h.Name, name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in its log
		close(p.done)
	}()
	return p, nil
}

// Output is what the process, and earlier ones with the same log, have printed until now.
func (p *Process) Output() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Signal sends sig to the process itself, not to the nsenter around it.
func (p *Process) Signal(sig unix.Signal) error {
	var children []int
	err := Until(context.Background(), 10*time.Second, func() (err error) { // one that was just started may not be there yet
		if children, err = p.children(); err == nil && len(children) == 0 {
			err = fmt.Errorf("process %d has no child", p.cmd.Process.Pid)
		}
		return err
	})
	for _, child := range children {
		err = errors.Join(err, unix.Kill(child, sig))
	}
	return err
}

// children are what the nsenter around the process has started: the process.
func (p *Process) children() (pids []int, err error) {
	pid := p.cmd.Process.Pid
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil, Final(err)
	}
	for _, field := range strings.Fields(string(list)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return nil, Final(err)
		}
		pids = append(pids, child)
	}
	return pids, nil
}

// Pause stops the process until Resume.
func (p *Process) Pause() error { return p.Signal(unix.SIGSTOP) }

// Resume lets a paused process go on.
func (p *Process) Resume(ctx context.Context) error {
	// nsenter stops itself when its child is stopped, and when it is continued it continues its child. Before, it would miss that.
	pid := p.cmd.Process.Pid
	err := Until(ctx, 10*time.Second, func() error {
		stopped, err := isStopped(pid)
		if err == nil && !stopped {
			return fmt.Errorf("process %d is not paused", pid)
		}
		return err
	})
	if err != nil {
		// Paused again right after a Resume, it was continued by the nsenter that was late.
		children, listed := p.children()
		for _, child := range children {
			if stopped, failed := isStopped(child); stopped || failed != nil {
				return err
			}
		}
		return listed
	}
	return unix.Kill(pid, unix.SIGCONT)
}

func isStopped(pid int) (bool, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false, Final(err)
	}
	_, state, ok := strings.Cut(string(stat), ") ")
	return ok && state[0] == 'T', nil
}

// Kill ends the process, paused or not, and the nsenter around it, without waiting for either.
func (p *Process) Kill() { _ = unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL) }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop sends sig and waits for the end, which must come before ctx's.
func (p *Process) Stop(ctx context.Context, sig unix.Signal) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	if err := p.Signal(sig); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("process %d after %v: %w", p.cmd.Process.Pid, sig, ctx.Err())
	}
}
