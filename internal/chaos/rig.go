package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
	"github.com/meshsec/meshsec/internal/testnet/leak"
)

// options say what the rig is made of.
type options struct {
	hosts   int
	members int    // of the embedded etcd, at most as many as hosts; 0: one
	plane   string // DATAPLANE
	// A dockerd on each host starts the containers. The attacker's has one for nothing.
	docker bool
	// The agents tell their metrics.
	metrics bool
	founder bool // it is killed at crash points
}

// rig is the hosts under test with a container on each, the traffic between those, the attacker, and all who watch.
type rig struct {
	*testnet.Cluster
	nodes    []*node
	kernel   bool // the kernel's data plane is in use everywhere
	members  int  // of the embedded etcd
	watch    *leak.Watch
	attacker *attacker
	traffic  *traffic
	tables   map[string]string // what the routers held when all was well
	holders  *holders
	churns   []*churn // under way
	took     []string // each check of settle, seconds

	stop context.CancelFunc
	work errgroup.Group
}

// newRig makes the hosts and returns when all are in order. The seed is the attacker's.
func newRig(ctx context.Context, o options, seed uint64) (_ *rig, err error) {
	c, err := testnet.New(ctx, testnet.Options{Hosts: o.hosts + 1, Docker: o.docker}) // the last is the attacker's
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(context.Background())
	r := &rig{Cluster: c, members: max(1, o.members), stop: cancel, holders: &holders{of: map[netip.Addr]string{}}}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	for i, h := range c.Hosts[:o.hosts] {
		n, err := newNode(ctx, h, i, o)
		if err != nil {
			return nil, err
		}
		r.nodes = append(r.nodes, n)
		if o.docker {
			if err := n.useDocker(ctx); err != nil {
				return nil, err
			}
		}
	}
	if err := r.meet(ctx); err != nil {
		return nil, err
	}
	if r.attacker, err = newAttacker(c.Hosts[o.hosts], r.nodes, seed); err != nil {
		return nil, err
	}
	if r.watch, err = c.WatchAttack(r.attacker.mac, r.attacker.overhear); err != nil {
		return nil, err
	}
	if err := r.startNodes(ctx); err != nil {
		return nil, errors.Join(err, errors.New(r.logs(0)))
	}
	if r.traffic, err = newTraffic(r.nodes, r.watch.Canary, r.attacker.marker); err != nil {
		return nil, err
	}
	r.work.Go(func() error { return r.traffic.run(run) })
	r.work.Go(func() error { return r.attacker.run(run) })
	if err := r.settle(ctx); err != nil {
		return nil, fmt.Errorf("before any fault: %w\n%s", err, r.logs(0))
	}
	r.tables, err = r.readTables(ctx)
	return r, err
}

// meet tells many hosts each other's Ethernet addresses, for permanent entries take no place in the kernel's neighbour table: see sample.
func (r *rig) meet(ctx context.Context) error {
	if len(r.nodes) <= fewHosts {
		return nil
	}
	for i, n := range r.nodes {
		var script strings.Builder
		// Not its own: what still comes for an address that it has moved away from, it would send on, to itself.
		for _, other := range slices.Concat(r.nodes[:i], r.nodes[i+1:]) {
			fmt.Fprintf(&script, "ip neigh replace %s lladdr %s dev eth0 nud permanent\n", other.home, other.mac)
		}
		if _, err := n.host.Run(ctx, "sh", "-c", script.String()); err != nil {
			return err
		}
	}
	return nil
}

// startNodes starts all agents, the founder first, and a container on each.
func (r *rig) startNodes(ctx context.Context) error {
	founder := r.nodes[0]
	if err := founder.start(); err != nil {
		return err
	}
	for _, n := range r.nodes[1:] {
		token, err := founder.host.Token(ctx)
		if err != nil {
			return err
		}
		n.settings = append(n.settings, "JOIN="+token)
		if err := n.start(); err != nil {
			return err
		}
	}
	r.kernel = true
	for _, n := range r.nodes {
		if err := n.startContainer(ctx, r.holders); err != nil {
			return err
		}
		var s control.Status
		if err := n.control.Get(ctx, "status", &s); err != nil {
			return err
		}
		r.kernel = r.kernel && s.DataPlane == "kernel"
	}
	return nil
}

// close ends everything.
func (r *rig) close() error {
	r.stop()
	err := r.work.Wait()
	if r.traffic != nil {
		r.traffic.close()
	}
	if r.watch != nil {
		err = errors.Join(err, r.watch.Close())
	}
	for _, n := range r.nodes {
		if n.process != nil { // one that is paused would not end with its host
			n.process.Kill()
		}
	}
	return errors.Join(err, r.Close())
}

// run carries out a schedule and says how long it took, once every fault was lifted, until all was well again. The error is
// what was not, or what was seen at any time that must never be.
func (r *rig) run(ctx context.Context, s Schedule) (whole time.Duration, err error) {
	since := time.Now()
	for _, n := range r.nodes {
		n.markLog()
	}
	for _, st := range s.steps() {
		if err := until(ctx, since.Add(st.at*scale())); err != nil {
			return 0, err
		}
		do := kinds[st.fault.Kind].begin
		if st.end {
			do = kinds[st.fault.Kind].lift
		}
		if do == nil {
			continue
		}
		if err := do(ctx, r, st.fault); err != nil {
			return 0, fmt.Errorf("the schedule itself: %s: %w", st.fault, err)
		}
	}
	lifted := time.Now()
	err = r.settle(ctx)
	whole = time.Since(lifted)
	return whole, errors.Join(err, r.seen(ctx, since))
}

// seen is what the watchers have seen since then that must never be.
func (r *rig) seen(ctx context.Context, since time.Time) error {
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	errs := []error{r.watch.Sync(limit), r.traffic.findings()}
	leaks := r.watch.Leaks(since)
	for _, l := range leaks[:min(len(leaks), 3)] {
		errs = append(errs, fmt.Errorf("leak: %s", l))
	}
	if len(leaks) > 3 {
		errs = append(errs, fmt.Errorf("leak: and %d more frames", len(leaks)-3))
	}
	return errors.Join(errs...)
}

// until waits for a moment.
func until(ctx context.Context, at time.Time) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(at)):
		return nil
	}
}

// scale is how much slower schedules are played in the laboratory.
func scale() time.Duration {
	if testnet.InLab() {
		return 4
	}
	return 1
}
