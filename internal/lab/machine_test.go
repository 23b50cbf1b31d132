package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fake is a machine whose QEMU is a shell script, which writes what it gives to $results.
func fake(t *testing.T, name, script string) *machine {
	t.Helper()
	m := &machine{name: name}
	if err := os.MkdirAll(m.dir(), 0o755); err != nil {
		t.Fatal(err)
	}
	m.line = []string{"sh", "-c", "results=" + m.dir() + "/results.tar; echo $$ >" + m.dir() + "/pid\n" + script}
	return m
}

// give is how a machine ends well; then it only waits to be stopped.
func give(status string) string {
	return "mkdir $results.d; echo " + status + " >$results.d/status; tar -C $results.d -cf $results .; echo 'lab: status " + status + "'; sleep 1000"
}

// gone fails the test when something of the machine is still running.
func gone(t *testing.T, m *machine) {
	t.Helper()
	pid, err := os.ReadFile(filepath.Join(m.dir(), "pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return // stopped before it had begun, because the other one died
	}
	if err != nil {
		t.Fatal(err)
	}
	group := strings.TrimSpace(string(pid))
	if exec.Command("sh", "-c", "kill -0 -- -"+group).Run() == nil {
		t.Errorf("process group %s of %s is still there", group, m.name)
	}
}

func TestTogether(t *testing.T) {
	const hang = "sleep 1000"
	cases := []struct {
		name, first, second string
		status              int
		says                string // of the error
	}{
		{"well", give("0"), give("0"), 0, ""},
		{"a status", give("0"), give("3"), 3, ""},
		{"two statuses", give("4"), give("3"), 4, ""},
		{"one dies", "exit 1", give("0"), 0, "ended without results"},
		{"one hangs", give("0"), hang, 0, "stopped after"},
		{"both hang", hang, hang, 0, "stopped after"},
		{"nothing given", "echo lab: status 0; " + hang, give("0"), 0, "no such file"},
		{"cut off", "echo half >$results; echo lab: status 0; " + hang, give("0"), 0, "unexpected EOF"},
		{"no status", "mkdir x; tar -cf $results x; echo lab: status 0; " + hang, give("0"), 0, "status"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			machines := []*machine{fake(t, "first", c.first), fake(t, "second", c.second)}
			timeout := time.Minute
			if c.says == "stopped after" {
				timeout = time.Second
			}
			status, err := together(t.Context(), machines, timeout)
			if status != c.status || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("status %d and error %v; want %d and %q", status, err, c.status, c.says)
			}
			for _, m := range machines {
				gone(t, m)
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := syscall.Mkfifo("up", 0o600); err != nil {
		t.Fatal(err)
	}
	m := fake(t, "only", "echo up >up; sleep 1000")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		if _, err := os.ReadFile("up"); err != nil {
			t.Error(err)
		}
		stop()
	}()
	if _, err := together(ctx, []*machine{m}, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that it was cancelled", err)
	}
	gone(t, m)
}
