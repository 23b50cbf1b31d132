//go:build linux && amd64

// Package crashpoint kills a process at one of its writes to etcd, disk or kernel, counted in the order in which its threads make them:
// whatever it was about to do, it has made so many and no more. It traces the system calls (ptrace(2), stopped by a seccomp filter where they
// may write), so what runs is what is delivered.
package crashpoint

import (
	"errors"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Tracer counts the writes of one process. Several may be at work at once.
type Tracer struct {
	N     int  // the write at which the process is killed, from 1; 0: none
	After bool // when that has taken effect and before the process knows; else before it

	writes []string
	kinds  *classifier
	pid    int
	last   int          // the thread that is killed when its call has taken effect
	again  map[int]bool // threads that make a call once more that is counted already
}

// Writes names the writes that were counted, the last one is that at which the process was killed.
func (t *Tracer) Writes() []string { return t.writes }

// Codes by which the kernel makes a system call again that has done nothing yet (include/linux/errno.h): a sysctl's, while the lock
// of the links is taken.
const (
	restartFirst = 512
	restartLast  = 516
)

// options follow all threads and children, and end them with the tracer.
const options = unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK |
	unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_EXITKILL

// Run starts cmd, whose process calls Filter before what is to be counted, and returns how it ended. started may be nil.
func (t *Tracer) Run(cmd *exec.Cmd, started func()) (unix.WaitStatus, error) {
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	var status unix.WaitStatus
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		return status, err
	}
	defer cmd.Process.Release()
	t.pid, t.kinds, t.again = cmd.Process.Pid, newClassifier(), map[int]bool{}
	if _, err := unix.Wait4(t.pid, &status, unix.WALL, nil); err != nil {
		return status, err
	}
	if err := unix.PtraceSetOptions(t.pid, options); err != nil {
		return status, err
	}
	if started != nil {
		started()
	}
	for tid := t.pid; ; {
		if status.Stopped() {
			resume, sig := t.stopped(tid, status)
			if err := resume(tid, sig); err != nil && !errors.Is(err, unix.ESRCH) { // one that was killed meanwhile; wait tells
				return status, err
			}
		}
		var err error
		for tid, err = unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil); errors.Is(err, unix.EINTR); {
			tid, err = unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		}
		if err != nil {
			return status, err
		}
		if tid == t.pid && !status.Stopped() {
			return status, nil
		}
	}
}

// stopped looks at why a thread has stopped, and tells how it goes on: to the end of the call, or freely, with a signal.
func (t *Tracer) stopped(tid int, status unix.WaitStatus) (resume func(tid, sig int) error, sig int) {
	switch s := status.StopSignal(); {
	case s == unix.SIGTRAP && status.TrapCause() == unix.PTRACE_EVENT_SECCOMP:
		if t.begins(tid) {
			return unix.PtraceSyscall, 0
		}
	case s == unix.SIGTRAP|0x80:
		t.ends(tid)
	case s != unix.SIGTRAP && s != unix.SIGSTOP: // neither an event nor a thread that begins
		return unix.PtraceCont, int(s)
	}
	return unix.PtraceCont, 0
}

// begins counts a system call that is about to be made, and tells whether it is one that writes.
func (t *Tracer) begins(tid int) bool {
	var regs unix.PtraceRegs
	if unix.PtraceGetRegs(tid, &regs) != nil {
		return false
	}
	what := t.kinds.classify(t.pid, tid, &regs)
	if what == "" {
		return false
	}
	if t.again[tid] {
		delete(t.again, tid)
		return true
	}
	if t.writes = append(t.writes, what); len(t.writes) != t.N {
		return true
	}
	if t.After {
		t.last = tid
	} else {
		_ = unix.Kill(t.pid, unix.SIGKILL) // a call that has not begun does not begin any more
	}
	return true
}

// ends is where a counted call comes out.
func (t *Tracer) ends(tid int) {
	var regs unix.PtraceRegs
	if unix.PtraceGetRegs(tid, &regs) != nil {
		return
	}
	if code := int64(regs.Rax); code <= -restartFirst && code >= -restartLast {
		t.again[tid] = true
	} else if t.last == tid {
		_ = unix.Kill(t.pid, unix.SIGKILL)
	}
}
