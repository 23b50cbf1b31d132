package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestParse(t *testing.T) {
	steps, err := parse(strings.NewReader("# comment\n\n a  first   echo 1  2 # again\nb second x\n"))
	if err != nil || len(steps) != 2 || *steps[0] != (step{lane: "a", name: "first", command: "echo 1  2 # again"}) {
		t.Errorf("%+v, %v", steps, err)
	}
	for list, says := range map[string]string{
		"a":             `line 1: "a": want LANE NAME COMMAND`,
		"a b":           `line 1: "a b": want LANE NAME COMMAND`,
		"\na b/c x":     "line 2: step b/c",
		"a b x\nc b x ": "line 2: step b is there already",
	} {
		if _, err := parse(strings.NewReader(list)); err == nil || !strings.HasPrefix(err.Error(), says) {
			t.Errorf("%q: %v, want %q", list, err, says)
		}
	}
}

// steps runs a list in a directory of its own and returns what was printed.
func steps(t *testing.T, ctx context.Context, list string) (string, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := syscall.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err := run(ctx, strings.NewReader(list), &schedule{logs: "logs", out: &out})
	return out.String(), err
}

// Lanes run side by side: each of these steps waits for the other.
func TestLanes(t *testing.T) {
	out, err := steps(t, t.Context(), `
a meet-a  echo met >pipe; echo 'engine: 29'; echo '--- PASS: TestA (0.1s)'; echo '    --- SKIP: TestA/b (0.0s)'
b meet-b  grep met pipe
a then    [ -e logs/meet-a.log ] && [ ! -e never ]`)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		`(?m)^== +\d+ s  meet-a begins$`, `(?m)^== +\d+ s  then ok, \d+ s$`,
		`(?m)^ +meet-a +a +\d+ +\d+ +\d+ +1 +1 +ok$`, `(?m)^meet-a: engine: 29$`, `(?m)^ +meet-b +b +\d+ +\d+ +\d+ +0 +0 +ok$`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	if log, err := os.ReadFile("logs/meet-b.log"); string(log) != "met\n" {
		t.Errorf("log %q, %v", log, err)
	}
}

// A stage begins when the one before it has ended, and not at all after a failure.
func TestStages(t *testing.T) {
	out, err := steps(t, t.Context(), `
a slow    sleep 0.2; touch done
b quick   true
then
a second  [ -e done ]
then
c fails   false
then
a last    touch never`)
	if err == nil || err.Error() != "1 of 5 steps failed" || !strings.Contains(out, "second ok") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := os.Stat("never"); err == nil {
		t.Error("a stage began after the failure")
	}
}

// A failure is shown and stops all else, also what a step has left in the background.
func TestFailure(t *testing.T) {
	out, err := steps(t, t.Context(), `
a fails   cat pipe; echo its reason; exit 3
b endless sleep 1000 & echo $! >pid; echo started >pipe; wait
a later   touch never`)
	if err == nil || err.Error() != "1 of 3 steps failed" {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{"---- fails failed (exit status 3), its output:\nstarted\nits reason\n", "\nagain: cat pipe; echo"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	for _, want := range []string{`endless .* stopped\n`, `later .* not begun\n`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	gone(t, "pid")
	if _, err := os.Stat("never"); err == nil {
		t.Error("a step began after the failure")
	}
}

func TestInterrupt(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := syscall.Mkfifo("up", 0o600); err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		if _, err := os.ReadFile(filepath.Join(dir, "up")); err != nil {
			t.Error(err)
		}
		stop()
	}()
	var out strings.Builder
	err = run(ctx, strings.NewReader("a one (sleep 1000 & echo $! >pid; echo up >up; wait) & wait"), &schedule{logs: "logs", out: &out})
	if err == nil || err.Error() != "stopped" {
		t.Errorf("error %v\n%s", err, out.String())
	}
	gone(t, "pid")
}

// gone fails the test when the process whose number is in the file still runs.
func gone(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", pid, err)
	}
}

// With -k the steps after a failed one run, and the whole has failed all the same.
func TestKeepGoing(t *testing.T) {
	t.Chdir(t.TempDir())
	var out strings.Builder
	list := strings.NewReader("a first  false\na second true\nthen\na third  false")
	err := run(t.Context(), list, &schedule{logs: "logs", keep: true, out: &out})
	if err == nil || err.Error() != "2 of 3 steps failed" {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{"second ok", "third failed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
