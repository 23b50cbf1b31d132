// Command demo shows the main job on one machine: three hosts made of namespaces, each with a real dockerd and the managed plugin,
// containers that reach each other, and what crossed the underlay meanwhile.
//
// With KEEP=1 in the environment everything stays up; `demo down` takes it down again, and so does the next run.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/meshsec/meshsec/internal/testnet"
)

// limit is the promise of the README, after the build.
const limit = 90 * time.Second

func main() {
	if len(os.Args) == 2 && os.Args[1] == "down" {
		testnet.End()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, os.Getenv("KEEP") == "1"); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run makes the cluster, shows everything, and takes it down again unless it is to be kept.
func run(ctx context.Context, out io.Writer, keep bool) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*limit)
	defer cancel()
	d := &demo{out: out, started: time.Now()}
	if err := d.step("packages and leftovers of earlier runs", func() error {
		testnet.End()
		return testnet.Setup(ctx)
	}); err != nil {
		return err
	}
	d.started = time.Now() // what is installed once does not count
	defer func() { err = errors.Join(err, d.end(keep && err == nil)) }()
	for _, s := range d.steps(ctx) {
		if err := d.step(s.what, s.do); err != nil {
			d.logs()
			return err
		}
	}
	d.say("everything works; %.1f s", time.Since(d.started).Seconds())
	return nil
}

// end takes everything down, or says how to look around.
func (d *demo) end(keep bool) error {
	if d.watch != nil {
		_ = d.watch.Close() // the process is about to end
	}
	if d.cluster == nil {
		return nil
	}
	if !keep {
		return d.cluster.Close()
	}
	if err := d.cluster.Stay(); err != nil {
		return err
	}
	root, err := testnet.Root()
	if err != nil {
		return err
	}
	first := d.cluster.Hosts[0]
	fmt.Fprintf(d.out, "\nEverything stays up (KEEP=1). Docker of each host, and a shell on it:\n")
	for _, h := range d.cluster.Hosts {
		fmt.Fprintf(d.out, "  %s: export DOCKER_HOST=%s\n      nsenter -t %d -a\n", h.Name, h.DockerHost(), h.Pid())
	}
	fmt.Fprintf(d.out, "What meshsec knows: nsenter -t %d -a %s/bin/meshsec peers   (status, hosts, networks, endpoints, blocks)\n", first.Pid(), root)
	fmt.Fprintf(d.out, "The router:         nsenter -t %d -a nsenter --net=/run/meshsec/router ip route\n", first.Pid())
	fmt.Fprintf(d.out, "From a container:   DOCKER_HOST=%s docker exec c1 ping -c3 %s\n", first.DockerHost(), d.containers[1].Addr)
	fmt.Fprintf(d.out, "Logs:               %s/dockerd.log\n", first.Dir())
	fmt.Fprintf(d.out, "To take it down:    %s/bin/demo down   (or the next run)\n", root)
	return nil
}
