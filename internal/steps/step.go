package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// grace is how long a stopped step may take to end by itself.
const grace = 10 * time.Second

// step is one command and its outcome.
type step struct {
	stage               int
	lane, name, command string

	result          string // ok, failed, stopped; empty: not begun
	began           time.Duration
	took, processor time.Duration
	passed, skipped int    // tests, subtests included
	notes           string // lines of the output that begin with "engine: "
}

// run runs the step with its output in the file. The error is that of the command.
func (s *step) run(ctx context.Context, log string) error {
	file, err := os.Create(log)
	if err != nil {
		return err
	}
	defer file.Close()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", s.command)
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	err = cmd.Wait()
	endGroup(cmd.Process.Pid)
	s.took = time.Since(began)
	s.processor = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return errors.Join(err, s.count(log))
}

// endGroup ends the rest of a step's process group, at first kindly.
func endGroup(group int) {
	for end := time.Now().Add(grace); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if errors.Is(syscall.Kill(-group, syscall.SIGTERM), syscall.ESRCH) {
			return
		}
	}
	_ = syscall.Kill(-group, syscall.SIGKILL)
}

// count counts the verdicts of `go test -v` in the output and takes its notes.
func (s *step) count(log string) error {
	file, err := os.Open(log)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadString('\n')
		switch {
		case strings.Contains(line, "--- PASS: "):
			s.passed++
		case strings.Contains(line, "--- SKIP: "):
			s.skipped++
		case strings.HasPrefix(line, "engine: "):
			s.notes += s.name + ": " + strings.TrimSpace(line) + "\n"
		}
		if err != nil { // the end
			return nil
		}
	}
}
