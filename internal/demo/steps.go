package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/internal/testnet"
	"github.com/meshsec/meshsec/internal/testnet/leak"
)

// fileSize is what is sent between each pair, in each direction.
const fileSize = 1 << 20

type demo struct {
	out     io.Writer
	started time.Time

	cluster    *testnet.Cluster
	watch      *leak.Watch
	containers []*testnet.Container // one on each host
}

type step struct {
	what string
	do   func() error
}

func (d *demo) steps(ctx context.Context) []step {
	return []step{
		{"three hosts, a dockerd in each", func() error { return d.hosts(ctx) }},
		{"host 1: docker plugin create, enable (founds the environment, embedded etcd)", func() error {
			return d.cluster.Hosts[0].InstallPlugin(ctx, "ETCD_MEMBERS=3")
		}},
		{"host 1: meshsec token; hosts 2 and 3: the plugin with JOIN=<token>", func() error { return d.join(ctx) }},
		{"each host: docker network create -d meshsec --ipam-driver meshsec mesh", func() error {
			return d.each(func(h *testnet.Host) error {
				_, err := h.Docker(ctx, "network", "create", "-d", "meshsec", "--ipam-driver", "meshsec", "mesh")
				return err
			})
		}},
		{"each host: docker run --network mesh", func() error { return d.run(ctx) }},
		{"ping between every pair of hosts", func() error { return d.ping(ctx) }},
		{"1 MB each way between every pair of hosts, compared by SHA-256", func() error { return d.transfer(ctx) }},
		{"what crossed the underlay", func() error { return d.crossed(ctx) }},
		{"host 1: meshsec status, peers, endpoints", func() error { return d.status(ctx) }},
	}
}

func (d *demo) hosts(ctx context.Context) (err error) {
	if d.cluster, err = testnet.New(ctx, testnet.Options{Hosts: 3, Docker: true}); err != nil {
		return err
	}
	d.watch, err = d.cluster.Watch()
	return err
}

func (d *demo) join(ctx context.Context) error {
	for _, h := range d.cluster.Hosts[1:] {
		token, err := d.cluster.Hosts[0].Token(ctx)
		if err != nil {
			return err
		}
		if err := h.InstallPlugin(ctx, "ETCD_MEMBERS=3", "JOIN="+token); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) run(ctx context.Context) error {
	d.containers = make([]*testnet.Container, len(d.cluster.Hosts))
	var group errgroup.Group
	for i, h := range d.cluster.Hosts {
		group.Go(func() (err error) {
			d.containers[i], err = h.StartContainer(ctx, "mesh", fmt.Sprintf("c%d", i+1))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, c := range d.containers {
		d.say("  %s on %s has %s, %s", c.Name, c.Host.Name, c.Addr, c.MAC)
	}
	return nil
}

// pairs calls do for every pair, both ways.
func (d *demo) pairs(do func(from, to *testnet.Container) error) error {
	for _, from := range d.containers {
		for _, to := range d.containers {
			if from == to {
				continue
			}
			if err := do(from, to); err != nil {
				return fmt.Errorf("%s to %s: %w", from.Name, to.Name, err)
			}
		}
	}
	return nil
}

func (d *demo) ping(ctx context.Context) error {
	return d.pairs(func(from, to *testnet.Container) error {
		// The first may come before the far side's route or keys.
		return testnet.Until(ctx, 20*time.Second, func() error {
			p, err := from.Ping(ctx, d.watch.Canary, to.Addr, 3)
			if err == nil {
				d.say("  %s → %s: %d of %d, best %.2f ms", from.Name, to.Name, p.Received, p.Sent, p.BestMS)
			}
			return err
		})
	})
}

func (d *demo) transfer(ctx context.Context) error {
	return d.pairs(func(from, to *testnet.Container) error {
		took, err := from.Transfer(ctx, d.watch.Canary, to.Addr, fileSize)
		if err == nil {
			d.say("  %s ⇄ %s: equal, %d ms", from.Name, to.Name, took.Milliseconds())
		}
		return err
	})
}

// crossed shows what the leak harness saw, and fails if a byte of a container was among it.
func (d *demo) crossed(ctx context.Context) error {
	if err := d.watch.Sync(ctx); err != nil {
		return err
	}
	table := tabwriter.NewWriter(d.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "          PROTOCOL\tFRAMES\tBYTES\tSIZES")
	for _, f := range d.watch.Flows() {
		fmt.Fprintf(table, "          %s\t%d\t%d\t%d to %d\n", f.Name, f.Frames, f.Bytes, f.Min, f.Max)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if leaks := d.watch.Leaks(time.Time{}); len(leaks) > 0 {
		return fmt.Errorf("%d frames that should not have crossed; the first: %s", len(leaks), leaks[0])
	}
	d.say("  no frame held the containers' data or addresses in the clear")
	return nil
}

func (d *demo) status(ctx context.Context) error {
	for _, command := range []string{"status", "peers", "endpoints"} {
		text, err := d.cluster.Hosts[0].Meshsec(ctx, command)
		fmt.Fprintf(d.out, "\n%s\n", indent(text))
		if err != nil {
			return err
		}
	}
	fmt.Fprintln(d.out)
	return nil
}

// each calls do for all hosts at once.
func (d *demo) each(do func(h *testnet.Host) error) error {
	var group errgroup.Group
	for _, h := range d.cluster.Hosts {
		group.Go(func() error { return do(h) })
	}
	return group.Wait()
}

// step says what comes and does it. The error names the step.
func (d *demo) step(what string, do func() error) error {
	d.say("%s", what)
	if err := do(); err != nil {
		return fmt.Errorf("step %q: %w", what, err)
	}
	return nil
}

// say prints a line with the time since the start.
func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "[%5.1fs] %s\n", time.Since(d.started).Seconds(), fmt.Sprintf(format, args...))
}

// logs prints the ends of the hosts' logs, for a step that failed.
func (d *demo) logs() {
	if d.cluster == nil {
		return
	}
	for _, h := range d.cluster.Hosts {
		if h != nil {
			fmt.Fprintf(d.out, "--- %s: end of its dockerd's log, with the plugin's\n%s\n", h.Name, indent(h.DockerdLog(30)))
		}
	}
}

func indent(text string) string { return "          " + strings.ReplaceAll(text, "\n", "\n          ") }
