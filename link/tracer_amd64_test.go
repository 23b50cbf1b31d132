package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// tracer runs a process and kills it at one of the changes that it makes in the kernel: by netlink, sysctls, mounts and new files.
type tracer struct {
	end  int  // the change at which the process is killed, from 1 on; 0: none
	done bool // it is killed when the system call has taken effect and before it returns; else before

	pid      int
	changes  []string
	changing int            // 0, or the thread that is in the last one
	inside   map[int]bool   // threads in a system call
	pending  map[int]int    // threads in a call that opens a netlink socket, its family
	last     int            // the thread that is killed when its call returns
	sockets  map[int]uint64 // netlink sockets by number, with their family
}

// Codes by which the kernel makes a system call again that has done nothing yet (include/linux/errno.h): a sysctl's, while the lock
// of the links is taken.
const (
	restartFirst = 512
	restartLast  = 516
)

// run returns when the process is gone: nil if it ended well, or was killed as it was to be.
func (t *tracer) run(cmd *exec.Cmd) error {
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &unix.SysProcAttr{Ptrace: true, Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer cmd.Process.Release()
	t.pid, t.inside, t.pending, t.sockets = cmd.Process.Pid, map[int]bool{}, map[int]int{}, map[int]uint64{}
	var status unix.WaitStatus
	if _, err := unix.Wait4(t.pid, &status, unix.WALL, nil); err != nil {
		return err
	}
	if err := unix.PtraceSetOptions(t.pid, unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_EXITKILL); err != nil {
		return err
	}
	for tid := t.pid; ; {
		signal := 0
		if status.Stopped() {
			if s := status.StopSignal(); s == unix.SIGTRAP|0x80 {
				t.call(tid)
			} else if s != unix.SIGTRAP && s != unix.SIGSTOP {
				signal = int(s)
			}
			if err := unix.PtraceSyscall(tid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
		var err error
		if tid, err = unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil); errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return err
		}
		switch killed := t.end > 0 && len(t.changes) >= t.end; {
		case tid != t.pid || status.Stopped():
		case status.Exited() && status.ExitStatus() == 0 && !killed, status.Signaled() && killed:
			return nil
		default:
			return fmt.Errorf("it ended with status %#x after %d changes", int(status), len(t.changes))
		}
	}
}

// call is where a thread goes into a system call or comes out.
func (t *tracer) call(tid int) {
	var regs unix.PtraceRegs
	if unix.PtraceGetRegs(tid, &regs) != nil {
		return
	}
	if t.inside[tid] = !t.inside[tid]; !t.inside[tid] {
		if family, ok := t.pending[tid]; ok && int64(regs.Rax) >= 0 {
			t.sockets[int(regs.Rax)] = uint64(family)
		}
		delete(t.pending, tid)
		if t.changing == tid {
			t.changing = 0
			if code := int64(regs.Rax); code <= -restartFirst && code >= -restartLast {
				t.changes = t.changes[:len(t.changes)-1] // it comes once more
				t.last = 0
			}
		}
		if t.last == tid {
			_ = unix.Kill(t.pid, unix.SIGKILL)
		}
		return
	}
	switch regs.Orig_rax {
	case unix.SYS_SOCKET:
		if regs.Rdi == unix.AF_NETLINK {
			t.pending[tid] = int(regs.Rdx)
		}
	case unix.SYS_CLOSE:
		delete(t.sockets, int(regs.Rdi))
	}
	what := t.change(tid, regs)
	if what == "" {
		return
	}
	t.changing = tid
	if t.changes = append(t.changes, what); len(t.changes) != t.end {
		return
	}
	if t.done {
		t.last = tid
	} else {
		_ = unix.Kill(t.pid, unix.SIGKILL) // a call that has not begun does not begin any more
	}
}

// change names what a system call changes; empty: nothing.
func (t *tracer) change(tid int, regs unix.PtraceRegs) string {
	message := uintptr(regs.Rsi)
	switch regs.Orig_rax {
	case unix.SYS_MOUNT:
		return "mount"
	case unix.SYS_MKDIRAT:
		return "folder"
	case unix.SYS_OPENAT:
		var path [6]byte
		if _, err := unix.PtracePeekData(tid, message, path[:]); err == nil && regs.Rdx&unix.O_CREAT != 0 && string(path[:]) != "/proc/" {
			return "file"
		}
		return ""
	case unix.SYS_SENDMSG: // struct msghdr, whose msg_iov is at 16
		message = peek(tid, peek(tid, message+16))
	case unix.SYS_SENDTO, unix.SYS_WRITE:
	default:
		return ""
	}
	family, ok := t.sockets[int(regs.Rdi)]
	if !ok {
		if file, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", t.pid, regs.Rdi)); err == nil && strings.HasPrefix(file, "/proc/sys/") {
			return "sysctl " + file
		}
		return ""
	}
	kind := uint16(peek(tid, message) >> 32)
	switch {
	case family == unix.NETLINK_ROUTE && kind >= unix.RTM_BASE && kind&3 != 2: // the third of each four asks only
		return fmt.Sprint("rtnetlink ", kind)
	case family == unix.NETLINK_NETFILTER && kind == unix.NFNL_MSG_BATCH_BEGIN:
		return "nftables"
	}
	return ""
}

// peek is a word of the process's memory.
func peek(tid int, at uintptr) uintptr {
	var word [8]byte
	if _, err := unix.PtracePeekData(tid, at, word[:]); err != nil {
		return 0
	}
	return uintptr(binary.NativeEndian.Uint64(word[:]))
}
