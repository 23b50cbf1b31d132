// Command steps runs the steps of `make test`: those of a lane one after another, the lanes side by
// side.
//
//	steps [-k] [-logs build/test] <LIST
//
// A line of the list is LANE NAME COMMAND…; the rest of the line is a shell command, which also
// repeats the step by hand. A line with a single "then" divides stages: the lanes below it begin when
// all steps above it have passed. Empty lines and lines that begin with # are ignored. A step's output is
// in NAME.log of the directory. When a step fails, its output is shown, the others are stopped with
// everything they started, and the exit status is 1; with -k they go on. SIGINT and SIGTERM stop all of them, too. At
// the end there is a table of all steps, with the lines of their output that begin with "engine: "
// below it.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	logs := flag.String("logs", "build/test", "`directory` of the steps' output")
	keep := flag.Bool("k", false, "go on with the other steps when a step fails")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// scripts/test may be killed alone.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGTERM), 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "steps: stop with the parent:", err)
		os.Exit(1)
	}
	if err := run(ctx, os.Stdin, &schedule{logs: *logs, keep: *keep, out: os.Stdout}); err != nil {
		fmt.Fprintln(os.Stderr, "steps:", err)
		os.Exit(1)
	}
}

// run runs the steps of a list and returns an error if not all of them passed.
func run(ctx context.Context, list io.Reader, s *schedule) error {
	steps, err := parse(list)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.logs, 0o755); err != nil {
		return err
	}
	s.stages(ctx, steps)
	return s.summary(steps)
}

// parse reads a list of steps.
func parse(list io.Reader) ([]*step, error) {
	var steps []*step
	stage := 0
	lines := bufio.NewScanner(list)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if line == "then" {
			stage++
			continue
		}
		lane, rest, _ := strings.Cut(line, " ")
		name, command, _ := strings.Cut(strings.TrimSpace(rest), " ")
		command = strings.TrimSpace(command)
		switch {
		case command == "":
			return nil, fmt.Errorf("line %d: %q: want LANE NAME COMMAND", n, line)
		case strings.Contains(name, "/"):
			return nil, fmt.Errorf("line %d: step %s: a name is a file's name, without a slash", n, name)
		case slices.ContainsFunc(steps, func(s *step) bool { return s.name == name }):
			return nil, fmt.Errorf("line %d: step %s is there already", n, name)
		}
		steps = append(steps, &step{stage: stage, lane: lane, name: name, command: command})
	}
	return steps, lines.Err()
}
