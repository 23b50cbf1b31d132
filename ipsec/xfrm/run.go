package xfrm

import (
	"context"
	"maps"
	"sync"
	"time"
)

// Intervals of Run.
const (
	// lookEvery is between two looks at everything, after which what others have changed is put right. With thousands of
	// SAs a look takes a while; then it is more, up to maxLookEvery, so that no more than a lookShare-th of a processor goes
	// into it.
	lookEvery    = time.Second
	maxLookEvery = 2 * time.Second
	lookShare    = 20
	// confirmEvery is between two looks at SAs whose first packet is expected.
	confirmEvery = 100 * time.Millisecond
	// maxPending bounds how many of them are looked at.
	maxPending = 256
)

// Run looks after the kernel's objects until ctx ends or the plane is closed: counters, repair, and the devices of peers
// without SAs, those with endpoints first.
func (p *Plane) Run(ctx context.Context) error {
	var watch sync.WaitGroup
	defer watch.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	watch.Go(func() {
		err := p.router.Watch(ctx, func() {
			p.mu.Lock()
			p.stale = true
			p.mu.Unlock()
			p.poke()
		})
		if err != nil {
			p.log.WithError(err).Warn("deleted tunnel routes will be seen late")
		}
	})
	watch.Go(func() {
		if err := p.kernel.notices(ctx, p.heed); err != nil {
			p.log.WithError(err).Warn("peers behind a NAT that changes will be found late")
		}
	})
	timer := time.NewTimer(0)
	defer timer.Stop()
	var looked time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.wake:
		case <-timer.C:
		}
		wait, err := p.tend(&looked)
		if err != nil {
			return err
		}
		timer.Reset(wait)
	}
}

// tend does what is due, and returns how long nothing else will be.
func (p *Plane) tend(looked *time.Time) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0, errClosed
	}
	if !p.set {
		return lookEvery, nil
	}
	now := p.now()
	if now.Sub(*looked) >= p.lookEvery || p.stale && !p.ailing {
		p.look()
		*looked = p.now()
		p.lookEvery = min(max(lookEvery, lookShare*p.now().Sub(now)), maxLookEvery)
	} else if pending := p.pending(now); len(pending) > 0 {
		p.confirm(pending, now)
	}
	if p.promote() {
		return 0, nil
	}
	if len(p.pending(now)) > 0 {
		return confirmEvery, nil
	}
	return max(0, p.lookEvery-p.now().Sub(*looked)), nil
}

// look repairs. What fails is said once.
func (p *Plane) look() {
	err := p.converge(nil)
	switch {
	case err != nil && !p.ailing:
		p.log.WithError(err).Warn("the kernel's ipsec is not as it should be, trying again")
	case err == nil && p.ailing:
		p.log.Info("the kernel's ipsec is as it should be again")
	}
	p.ailing = err != nil
}

// pending are the SAs whose first packet is expected.
func (p *Plane) pending(now time.Time) map[stateKey]*association {
	pending := map[stateKey]*association{}
	p.each(func(_ *peer, a *association) {
		if len(pending) < maxPending && a.pending(now) {
			pending[a.key] = a
		}
	})
	return pending
}

// confirm looks at some SAs' counters only.
func (p *Plane) confirm(pending map[stateKey]*association, now time.Time) {
	keys := make([]stateKey, 0, len(pending))
	for k := range pending {
		keys = append(keys, k)
	}
	counters, err := p.kernel.counters(keys)
	if err != nil {
		return // the next look will tell
	}
	for k, c := range counters {
		if e := p.byIfID[pending[k].state.IfID]; e != nil {
			p.saw(e, pending[k], c, now)
		}
	}
}

// promote makes the device of one peer that has none yet, and says whether there are more.
func (p *Plane) promote() (more bool) {
	var next *peer
	for _, e := range p.memory.peers {
		switch {
		case e.carried:
		case next == nil:
			next = e
		default:
			more = true
			if len(next.Prefixes) <= 1 && len(e.Prefixes) > 1 { // a router address only, and an endpoint
				next = e
			}
		}
	}
	if next == nil {
		return false
	}
	// From now on it is a matter of look, which lists; this first try need not, because the if_id is a new one.
	p.promoted[next.Name] = true
	next.carried = true
	p.give(next, p.pick(next.Name))
	r := p.newRound(nil)
	r.execute(plan(wanted([]*peer{next}, newWorld(), p.config.MTU, past{}), newWorld()))
	maps.Copy(p.devices, r.devs)
	if err := r.err(); err != nil {
		p.log.WithError(err).WithField("peer", next.Name).Debug("the peer's device is not there yet")
	}
	return more
}
