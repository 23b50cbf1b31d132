package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	soakRekey    = 5 * time.Second // new keys on all hosts
	soakStarts   = 5               // containers that start each second, on all hosts together; as many end
	soakReadings = 30              // in all
)

// soak lets containers come and go under traffic, attack and rekeying for so long, and says what the agents hold that they did not
// hold before.
func soak(ctx context.Context, out io.Writer, o options, seed uint64, long time.Duration) (err error) {
	o.metrics = true
	r, err := newRig(ctx, o, seed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	fmt.Fprintf(out, "soak: %d hosts, %s\n%s\n", o.hosts, long, readingHead)
	began := time.Now()
	since := began
	take := func(label string) ([]reading, error) {
		all := make([]reading, len(r.nodes))
		for i, n := range r.nodes {
			var err error
			if all[i], err = n.reading(ctx); err != nil {
				return nil, fmt.Errorf("%s: %w", n.host.Name, err)
			}
			fmt.Fprintf(out, "%-7s %-4s %s\n", label, n.host.Name, all[i])
		}
		return all, nil
	}
	before, err := take("before")
	if err != nil {
		return err
	}
	for i := range r.nodes {
		r.startChurn(i, time.Duration(o.hosts)*time.Second/soakStarts)
	}
	under := make([][]reading, len(r.nodes))
	rekeys := 0
	nextReading := began.Add(long / soakReadings)
	for time.Since(began) < long {
		if err := until(ctx, time.Now().Add(soakRekey)); err != nil {
			return err
		}
		r.rekeyAll(ctx)
		rekeys++
		if time.Now().Before(nextReading) {
			continue
		}
		nextReading = nextReading.Add(long / soakReadings)
		all, err := take(fmt.Sprintf("%.0f s", time.Since(began).Seconds()))
		if err != nil {
			return err
		}
		for i, s := range all {
			under[i] = append(under[i], s)
		}
		if err := r.seen(ctx, since); err != nil {
			return err
		}
		since = time.Now()
	}
	took := time.Since(began)
	if err := errors.Join(r.settle(ctx), r.seen(ctx, since)); err != nil {
		return err
	}
	var complaints []error
	atRest := func() error {
		complaints = nil
		for i, n := range r.nodes {
			s, err := n.reading(ctx)
			if err != nil {
				return err
			}
			for _, what := range append(s.exceeds(before[i]), grows(under[i])...) {
				complaints = append(complaints, fmt.Errorf("%s: %s", n.host.Name, what))
			}
		}
		return errors.Join(complaints...)
	}
	err = waitUntil(ctx, atRest)
	if _, readErr := take("after"); readErr != nil {
		return readErr
	}
	guests := 0
	for _, n := range r.nodes {
		guests += int(n.guests.Load())
	}
	fmt.Fprintf(out, "%d containers came and went, %.1f per second; %d times new keys on all hosts; injected frames: %s\n",
		guests, float64(guests)/took.Seconds(), rekeys, counted(r.attacker.counts()))
	return err
}

// rekeyAll asks all agents for new keys.
func (r *rig) rekeyAll(ctx context.Context) {
	var all errgroup.Group
	for _, n := range r.nodes {
		all.Go(func() error { n.rekey(ctx); return nil })
	}
	_ = all.Wait()
}
