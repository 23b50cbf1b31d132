// Command planes measures one way through the underlay against the others, between containers of two dockerds on a kernel
// that has ESP: meshsec's kernel plane, Docker's encrypted overlay, the kernel's WireGuard and plain routing. It prints
// Markdown. Everything runs in the laboratory (`scripts/lab bench`).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/internal/testnet"
)

func main() {
	rounds := flag.Int("rounds", 5, "rounds, in each of which every way is measured once")
	length := flag.Duration("length", 3*time.Second, "of a TCP transfer")
	pings := flag.Int("pings", 500, "pings in a flood")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := compare(ctx, *rounds, *pings, *length); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// setups make the ways, in the table's order.
var setups = []func(context.Context, *testnet.Cluster) (*way, error){meshsec, overlay, wireguard, routing}

func compare(ctx context.Context, rounds, pings int, length time.Duration) (err error) {
	c, err := testnet.New(ctx, testnet.Options{Hosts: 2, Docker: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	var ways []*way
	for _, setup := range setups {
		w, err := setup(ctx, c)
		if err != nil {
			return err
		}
		if err := w.open(ctx); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		ways = append(ways, w)
	}
	for round := range rounds {
		for i := range ways { // nobody is always the first
			w := ways[(i+round)%len(ways)]
			if err := w.measure(ctx, pings, length); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, rounds)
	}
	report(os.Stdout, ways)
	return nil
}

// each runs fn on both hosts at once.
func each(c *testnet.Cluster, fn func(i int, h *testnet.Host) error) error {
	var group errgroup.Group
	for i, h := range c.Hosts {
		group.Go(func() error { return fn(i, h) })
	}
	return group.Wait()
}
