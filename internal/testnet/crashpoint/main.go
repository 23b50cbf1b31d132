//go:build linux && amd64

// Command crashpoint runs a program and kills it just before its n-th write to etcd, disk or kernel; see the package of that name.
//
//	crashpoint -n N [-log FILE] -- PROGRAM [ARGUMENT…]
//
// It ends as the program does, and with 137 when it has killed it; FILE then says before what.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/internal/crashpoint"
)

// launchWord begins the command line of the process that is to become the program.
const launchWord = "-launch-"

func main() {
	if len(os.Args) > 2 && os.Args[1] == launchWord {
		fail(launch(os.Args[2:]))
	}
	n := flag.Int("n", 0, "which write it does not live to make, from 1; 0: none")
	log := flag.String("log", "", "file for the writes that were counted, the last of them with its number")
	flag.Parse()
	if flag.NArg() == 0 || *n < 0 {
		fail(errors.New("usage: crashpoint -n N [-log FILE] -- PROGRAM [ARGUMENT…]"))
	}
	t := &crashpoint.Tracer{N: *n}
	cmd := exec.Command("/proc/self/exe", append([]string{launchWord}, flag.Args()...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	status, err := t.Run(cmd, func() {
		pid := cmd.Process.Pid
		go func() {
			for s := range signals {
				_ = unix.Kill(pid, s.(syscall.Signal))
			}
		}()
	})
	if err == nil && *log != "" {
		err = os.WriteFile(*log, []byte(report(t, *n)), 0o644)
	}
	if err != nil {
		fail(err)
	}
	if status.Signaled() {
		os.Exit(128 + int(status.Signal()))
	}
	os.Exit(status.ExitStatus())
}

// report is the write at which the program was killed, or all of them where it was to live.
func report(t *crashpoint.Tracer, n int) string {
	writes := t.Writes()
	switch {
	case n == 0:
		return strings.Join(writes, "\n") + "\n"
	case len(writes) < n:
		return ""
	}
	return fmt.Sprintln(n, writes[n-1])
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "crashpoint:", err)
	os.Exit(125)
}

// launch has the writes reported and becomes the program.
func launch(words []string) error {
	path, err := exec.LookPath(words[0])
	if err != nil {
		return err
	}
	if err := crashpoint.Filter(); err != nil {
		return err
	}
	return syscall.Exec(path, words, os.Environ())
}
