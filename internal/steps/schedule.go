package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"text/tabwriter"
	"time"
)

// schedule is one run of all steps.
type schedule struct {
	logs  string
	keep  bool // go on when a step fails
	began time.Time
	mu    sync.Mutex // out
	out   io.Writer
}

// stages runs the steps until all have run, one has failed (unless keep is set), or ctx ends.
func (s *schedule) stages(ctx context.Context, steps []*step) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s.began = time.Now()
	for len(steps) > 0 && ctx.Err() == nil {
		stage := steps[0].stage
		next := slices.IndexFunc(steps, func(st *step) bool { return st.stage != stage })
		if next < 0 {
			next = len(steps)
		}
		s.lanes(ctx, stop, steps[:next])
		steps = steps[next:]
	}
}

// lanes runs the steps of a stage, and calls stop when one fails, unless keep is set.
func (s *schedule) lanes(ctx context.Context, stop func(), steps []*step) {
	byLane := make(map[string][]*step)
	for _, st := range steps {
		byLane[st.lane] = append(byLane[st.lane], st)
	}
	var all sync.WaitGroup
	for _, lane := range byLane {
		all.Go(func() {
			for _, st := range lane {
				if ctx.Err() != nil {
					return
				}
				s.say("%s begins", st.name)
				st.began = time.Since(s.began)
				err := st.run(ctx, s.log(st))
				st.result = outcome(ctx, err)
				if st.result == "failed" {
					if !s.keep {
						stop()
					}
					s.show(st, err)
				}
				s.say("%s %s, %.0f s", st.name, st.result, st.took.Seconds())
			}
		})
	}
	all.Wait()
}

// outcome is a step's result. A step that ends badly after the others were stopped was stopped, too.
func outcome(ctx context.Context, err error) string {
	switch {
	case err == nil:
		return "ok"
	case ctx.Err() != nil:
		return "stopped"
	}
	return "failed"
}

func (s *schedule) log(st *step) string { return filepath.Join(s.logs, st.name+".log") }

// say prints a line of progress.
func (s *schedule) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "== %4.0f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// show prints the whole output of a step that failed.
func (s *schedule) show(st *step, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "\n---- %s failed (%v), its output:\n", st.name, why)
	if file, err := os.Open(s.log(st)); err == nil {
		_, _ = io.Copy(s.out, file)
		file.Close()
	}
	fmt.Fprintf(s.out, "---- end of the output of %s\n\n", st.name)
}

// summary prints the table of all steps, and returns an error unless all passed.
func (s *schedule) summary(steps []*step) error {
	fmt.Fprintln(s.out)
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "step\tlane\tbegan\tseconds\tof processors\ttests passed\tskipped\tresult\t")
	var failed, passed int
	for _, st := range steps {
		result := st.result
		if result == "" {
			result = "not begun"
		}
		fmt.Fprintf(w, "%s\t%s\t%.0f\t%.0f\t%.0f\t%d\t%d\t%s\t\n", st.name, st.lane, st.began.Seconds(),
			st.took.Seconds(), st.processor.Seconds(), st.passed, st.skipped, result)
		if st.result == "ok" {
			passed++
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, st := range steps {
		fmt.Fprint(s.out, st.notes)
	}
	fmt.Fprintf(s.out, "%.0f s in all; the steps' output is in %s\n", time.Since(s.began).Seconds(), s.logs)
	for _, st := range steps {
		if st.result == "failed" {
			failed++
			fmt.Fprintf(s.out, "again: %s\n", st.command)
		}
	}
	switch {
	case passed == len(steps):
		return nil
	case failed == 0:
		return errors.New("stopped")
	}
	return fmt.Errorf("%d of %d steps failed", failed, len(steps))
}
