//go:build linux && amd64

// Command crashpoint runs a program and kills it just before its n-th write to etcd, disk or kernel, counted in the order in which its
// threads make them: whatever the program was about to do, it has done n-1 writes and no more.
//
//	crashpoint -n N [-etcd PORT] [-log FILE] -- PROGRAM [ARGUMENT…]
//
// It traces the program's system calls (ptrace(2), stopped by a seccomp filter where they may write), so the program is the one that is
// delivered. It ends as the program does, and with 137 when it has killed it; then FILE says before what.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == launchWord {
		fail(launch(os.Args[2:]))
	}
	n := flag.Int("n", 0, "which write it does not live to make, from 1; 0: none")
	port := flag.Int("etcd", 2379, "TCP port of etcd")
	log := flag.String("log", "", "file for the write that was not made; without -n for all that were")
	flag.Parse()
	if flag.NArg() == 0 || *n < 0 {
		fail(fmt.Errorf("usage: crashpoint -n N [-etcd PORT] [-log FILE] -- PROGRAM [ARGUMENT…]"))
	}
	out := os.NewFile(0, os.DevNull)
	if *log != "" {
		var err error
		if out, err = os.Create(*log); err != nil {
			fail(err)
		}
	}
	t := &tracer{n: *n, log: out, kinds: newClassifier(*port)}
	status, err := t.run(flag.Args())
	if err != nil {
		fail(err)
	}
	os.Exit(status)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "crashpoint:", err)
	os.Exit(125)
}

// tracer counts the writes of a program.
type tracer struct {
	n     int
	log   *os.File
	kinds *classifier
	pid   int
	count int
}

// run starts the program and follows all its threads until it ends. It gives its exit status as a shell does.
func (t *tracer) run(words []string) (status int, err error) {
	runtime.LockOSThread() // the tracer is the thread
	cmd := exec.Command("/proc/self/exe", append([]string{launchWord}, words...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	t.pid = cmd.Process.Pid
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	go func() {
		for s := range signals {
			_ = unix.Kill(t.pid, s.(syscall.Signal))
		}
	}()
	var ws unix.WaitStatus
	if _, err := unix.Wait4(t.pid, &ws, unix.WALL, nil); err != nil {
		return 0, err
	}
	const options = unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK |
		unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(t.pid, options); err != nil {
		return 0, err
	}
	for tid := t.pid; ; {
		// One that was killed meanwhile can't be continued; wait tells.
		_ = unix.PtraceCont(tid, t.stopped(tid, ws))
		if tid, err = unix.Wait4(-1, &ws, unix.WALL, nil); err != nil {
			return 0, err
		}
		switch {
		case tid == t.pid && ws.Exited():
			return ws.ExitStatus(), nil
		case tid == t.pid && ws.Signaled():
			return 128 + int(ws.Signal()), nil
		}
	}
}

// stopped looks at why a thread has stopped, and gives the signal that it is to go on with.
func (t *tracer) stopped(tid int, ws unix.WaitStatus) (sig int) {
	if !ws.Stopped() {
		return 0
	}
	switch {
	case ws.StopSignal() == unix.SIGTRAP && ws.TrapCause() == unix.PTRACE_EVENT_SECCOMP:
		t.write(tid)
		return 0
	case ws.StopSignal() == unix.SIGTRAP, ws.StopSignal() == unix.SIGSTOP: // an event, or a thread that begins
		return 0
	}
	return int(ws.StopSignal())
}

// write counts a system call that is about to be made, if it writes.
func (t *tracer) write(tid int) {
	var regs unix.PtraceRegs
	if unix.PtraceGetRegs(tid, &regs) != nil {
		return
	}
	what := t.kinds.classify(t.pid, tid, &regs)
	if what == "" {
		return
	}
	t.count++
	if t.n == 0 {
		fmt.Fprintln(t.log, t.count, what)
	}
	if t.count == t.n {
		fmt.Fprintln(t.log, t.count, what)
		_ = unix.Kill(t.pid, unix.SIGKILL)
	}
}
