package xfrm

import (
	"context"
	"errors"
	"fmt"

	"github.com/meshsec/meshsec/ipsec"
)

// MTUs that IPv4 allows (RFC 791).
const (
	minMTU = 68
	maxMTU = 65535
)

// assignTries bounds how many if_ids are tried at once that turn out to be somebody else's.
const assignTries = 8

// Set implements ipsec.Dataplane: it lists what the kernel has, plans, and carries the plan out. Peers without SAs get
// their device later, in Run, because each takes the kernel milliseconds; those with SAs have theirs when Set returns.
// A Set in which nothing but SAs is new leaves the routes to Run, should they need repair, and fails only for the peers
// that they belong to: what a handshake waits for is its own peer. A Set in which nothing but prefixes is new lists nothing. Nothing
// that c points to may be changed afterwards.
func (p *Plane) Set(ctx context.Context, c ipsec.Config) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.MTU < minMTU || c.MTU > maxMTU {
		return fmt.Errorf("kernel plane: MTU %d is not within %d and %d", c.MTU, minMTU, maxMTU)
	}
	if done, err := p.setPrefixes(c); done {
		return err
	}
	rekeyed := p.take(c)
	err := p.converge(rekeyed)
	p.failed = err != nil || p.failed && rekeyed != nil
	p.poke()
	return err
}

// poke makes Run look for work.
func (p *Plane) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// converge makes the kernel's objects those of the config. rekeyed limits it to errors of these peers, and leaves the
// routes alone but for those of new devices.
func (p *Plane) converge(rekeyed map[string]bool) error {
	var err error
	for range assignTries {
		if err = p.convergeOnce(rekeyed); !errors.Is(err, errTaken) {
			break
		}
	}
	return err
}

func (p *Plane) convergeOnce(rekeyed map[string]bool) error {
	inv, err := p.kernel.list()
	if err != nil {
		return err
	}
	now := p.now()
	troubles := p.resolve(now)
	p.assign(inv)
	p.meet(inv)
	p.account(inv, now)
	p.report(now)
	r := p.newRound(rekeyed)
	for _, t := range troubles {
		r.fail(t.host, t.err)
	}
	for name := range inv.Devices {
		r.devs[name] = true
	}
	want := wanted(p.memory.peers, inv.world, p.config.MTU, p.past(inv, now))
	r.execute(plan(want, inv.world))
	p.devices = r.devs
	return r.err()
}

// meet compares the SAs of the config with what the kernel has.
func (p *Plane) meet(inv inventory) {
	for _, e := range p.memory.peers {
		e.proven = p.proven[e.Name]
		for i := range e.In {
			p.meetOne(e, &e.In[i], false, inv)
		}
		if e.Out != nil {
			p.meetOne(e, e.Out, true, inv)
		}
	}
}

func (p *Plane) meetOne(e *peer, sa *ipsec.SA, out bool, inv inventory) {
	if a := p.associations[fingerprintOf(out, &sa.Key)]; a != nil && e.us.IsValid() {
		k, s := e.wants(sa, out, p.port, p.life)
		a.meet(k, s, inv.States)
	}
}
