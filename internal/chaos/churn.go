package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/meshsec/meshsec/internal/testnet"
)

// churn is containers that come and go on one host while other things break. What the agent refuses, or does not live to do, is
// asked for again, as whoever wants a container does.
type churn struct {
	node  *node
	every time.Duration      // from start to start, at least
	stop  context.CancelFunc // no more containers
	done  chan error
}

// beginChurn starts containers on the fault's host, one after the other, each of which soon stops again, until it is lifted.
func beginChurn(_ context.Context, r *rig, f Fault) error {
	r.startChurn(f.Host, 0)
	return nil
}

// startChurn starts containers on a host, each at the earliest so long after the last one.
func (r *rig) startChurn(host int, every time.Duration) {
	ctx, stop := context.WithCancel(context.Background())
	c := &churn{node: r.nodes[host], every: every, stop: stop, done: make(chan error, 1)}
	r.churns = append(r.churns, c)
	go func() { c.done <- c.run(ctx, r.holders) }()
}

// endChurn starts no more containers on the fault's host. The last ones may take until an agent is there again to stop.
func endChurn(_ context.Context, r *rig, f Fault) error {
	for _, c := range r.churns {
		if c.node == r.nodes[f.Host] {
			c.stop()
		}
	}
	return nil
}

// alive is how many containers a churn has at once.
const alive = 3

func (c *churn) run(ctx context.Context, h *holders) error {
	var up []*guest
	var errs []error
	for next := time.Now(); ctx.Err() == nil && until(ctx, next) == nil; next = next.Add(c.every) {
		g := &guest{node: c.node, number: int(c.node.guests.Add(1))}
		errs = append(errs, g.start(ctx, h))
		if up = append(up, g); len(up) == alive {
			errs = append(errs, up[0].end(h))
			up = up[1:]
		}
	}
	for _, g := range up {
		errs = append(errs, g.end(h))
	}
	return errors.Join(errs...)
}

// churned waits until all that came has gone again.
func (r *rig) churned(ctx context.Context) error {
	var errs []error
	for _, c := range r.churns {
		c.stop()
		select {
		case err := <-c.done:
			errs = append(errs, err)
		case <-ctx.Done():
			errs = append(errs, fmt.Errorf("containers of %s: %w", c.node.host.Name, ctx.Err()))
		}
	}
	r.churns = nil
	return errors.Join(errs...)
}

// guest is a container that comes and goes.
type guest struct {
	node      *node
	number    int // on its host, from 1; 0 is the one that stays
	container *testnet.Container
	holds     bool
	refused   error // why the last attempt to start it came to nothing
}

func (g *guest) String() string { return fmt.Sprintf("container %d of %s", g.number, g.node.host.Name) }

// start tries until the container runs, or ctx ends, or for as long as patience lasts. The error is what must never be.
func (g *guest) start(ctx context.Context, h *holders) (wrong error) {
	g.refused = testnet.Until(ctx, patience, func() (err error) {
		// Not cut short: nobody would know what had been done by then.
		ctx := context.Background()
		if g.container, err = g.node.engine.StartContainer(ctx, g.number); err == nil {
			wrong = h.take(g.container.Addr, g.String())
			g.holds = wrong == nil
		} else if wrong = g.end(h); wrong != nil {
			return testnet.Final(wrong)
		}
		return err
	})
	return wrong
}

// end tries until the container has gone.
func (g *guest) end(h *holders) error {
	if g.container == nil {
		return nil
	}
	if g.holds {
		h.leave(g.container.Addr)
	}
	ctx := context.Background()
	if err := testnet.Until(ctx, patience, func() error { return g.node.engine.StopContainer(ctx, g.container, g.number) }); err != nil {
		return fmt.Errorf("%s does not stop: %w", g, err)
	}
	g.container, g.holds = nil, false
	return nil
}

// holders are who has which address at this moment, as containers see it.
type holders struct {
	mu sync.Mutex
	of map[netip.Addr]string
}

// take says that somebody has the address from now on. It is an error when another one has it.
func (h *holders) take(addr netip.Addr, who string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if other, ok := h.of[addr]; ok {
		return fmt.Errorf("%s is held twice: by %s and by %s", addr, other, who)
	}
	h.of[addr] = who
	return nil
}

func (h *holders) leave(addr netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.of, addr)
}
