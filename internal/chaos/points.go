package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// points kills an agent before its first write to etcd, disk or kernel, before its second, and so on: while it starts and while a
// container starts and stops. every is the step, from the first one on. The agent is the second host's, or the founder's, whose etcd writes, too. After each the next agent must make all well again, as after
// a schedule, and the container must have been started and stopped. It gives how many points there were.
func points(ctx context.Context, out io.Writer, o options, first, every int) (count int, err error) {
	o.hosts = 2
	r, err := newRig(ctx, o, uint64(first))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	kinds := map[string]int{}
	var failed []string
	n := r.nodes[1]
	if o.founder {
		n = r.nodes[0]
	}
	began := time.Now()
	number := first
	for ; ; number += every {
		since := time.Now()
		n.markLog()
		what, err := r.crashAt(ctx, n, number)
		if err != nil {
			return count, fmt.Errorf("point %d: %w", number, err)
		}
		if err := errors.Join(r.settle(ctx), r.seen(ctx, since)); ctx.Err() != nil {
			return count, ctx.Err()
		} else if err != nil {
			failed = append(failed, fmt.Sprint(number))
			fmt.Fprintf(out, "FAIL  point %d, %s:\n%v\n%s\n", number, what, err, n.log())
		}
		if what == "" {
			break
		}
		kind, _, _ := strings.Cut(what, ":")
		kinds[kind]++
		count++
		fmt.Fprintf(out, "ok    point %d, %s: whole again (%s)\n", number, what, strings.Join(r.took, ", "))
	}
	fmt.Fprintf(out, "%d points each %d from %d on, in %s: %s\n", number, every, first, time.Since(began).Round(time.Second), counted(kinds))
	if len(failed) > 0 {
		return count, fmt.Errorf("crash points that were not healed: %s", strings.Join(failed, ", "))
	}
	return count, nil
}

// crashAt has the agent start anew and a container start and stop on it, and kills it before its write of that number. It tells which
// that was; empty: it did not come to so many. In the end an agent runs, and the container has gone.
func (r *rig) crashAt(ctx context.Context, n *node, number int) (what string, err error) {
	if err := n.stop(ctx, unix.SIGTERM); err != nil {
		return "", err
	}
	process, before, err := n.host.StartAgentUntil(ctx, number, n.settings...)
	if err != nil {
		return "", err
	}
	n.process = process
	ended := make(chan error, 1)
	go func() {
		g := &guest{node: n, number: int(n.guests.Add(1))}
		wrong := g.start(ctx, r.holders)
		if wrong == nil && !g.holds {
			wrong = fmt.Errorf("%s does not start: %w", g, g.refused)
		}
		ended <- errors.Join(wrong, g.end(r.holders))
	}()
	select {
	case <-n.process.Done():
		if what = before(); what == "" {
			return "", fmt.Errorf("the agent ended by itself:\n%s", n.log())
		}
		if err := n.start(); err != nil {
			return "", err
		}
		return what, <-ended
	case err := <-ended:
		if err != nil {
			return "", err
		}
		n.process.Kill()
		<-n.process.Done()
		return "", n.start()
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
