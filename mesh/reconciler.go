package mesh

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

// Facts is where the environment's facts come from; *store.Store is one.
type Facts interface {
	Snapshot() *store.Snapshot
	Subscribe() <-chan struct{}
}

// Holdings is what this host holds; *store.Checkpoint is one.
type Holdings interface {
	Local() *store.Local
	Subscribe() <-chan struct{}
}

// Links are this host's links and filters; *link.Router is one.
type Links interface {
	SetGuard(pools []netip.Prefix) error
	SetAddr(router netip.Addr) error
	SetFilter(link.Filter) error
	SetBridges([]link.Bridge) error
	SetPorts([]link.Veth) error
	Announce(bridge string, addr netip.Addr, mac net.HardwareAddr) error
	// Watch calls fn when something that was set may have been changed by others, until ctx ends.
	Watch(ctx context.Context, fn func()) error
}

// Keys is the handshake with the peers. Neither method may wait for Rekey.
type Keys interface {
	SAs() map[string]ipsec.SASet
	SetPeers([]Peer)
}

// Times are the Reconciler's delays; zero values mean the defaults.
type Times struct {
	Every   time.Duration // between rounds without cause: 60 s
	Settle  time.Duration // after a round, so that a burst of changes becomes one more: 20 ms; after one that set routes only, 2 ms
	Backoff time.Duration // after a failed round, doubled each time up to MaxBackoff: 100 ms
	// MaxBackoff is 30 s by default.
	MaxBackoff time.Duration
}

func (t Times) withDefaults() Times {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&t.Every, time.Minute)
	set(&t.Settle, 20*time.Millisecond)
	set(&t.Backoff, 100*time.Millisecond)
	set(&t.MaxBackoff, 30*time.Second)
	return t
}

// Reconciler makes this host carry what Compute says. Its methods may be called concurrently.
type Reconciler struct {
	o     Options
	times Times
	facts Facts
	own   Holdings
	links Links
	keys  Keys
	plane ipsec.Dataplane
	log   *logrus.Entry

	kick chan struct{}

	round     sync.Mutex // one round at a time; it guards the following
	memory    memory
	announcer announcer
	linked    *linked // nil: they must be set

	// install is held while the data plane is set, by a round or by Rekey; it guards the following.
	install sync.Mutex
	wanted  *Desired
	given   *ipsec.Config // what the data plane got last
	refused error         // what it said

	progress progress
}

// New returns a Reconciler that does nothing until Run or Reconcile.
func New(o Options, t Times, facts Facts, own Holdings, links Links, keys Keys, plane ipsec.Dataplane, log *logrus.Entry) *Reconciler {
	return &Reconciler{o: o, times: t.withDefaults(), facts: facts, own: own, links: links, keys: keys, plane: plane, log: log,
		kick: make(chan struct{}, 1), progress: progress{next: make(chan struct{})}}
}

// Kick asks for a round soon. It never blocks.
func (r *Reconciler) Kick() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// maxSettle bounds how long changes of a burst are gathered.
const maxSettle = time.Second

// Run reconciles at once, whenever facts or holdings change or others have touched what was set, and every Times.Every,
// until ctx ends; it then returns nil.
// The first change after a quiet while is carried out at once; those that come meanwhile or in the settling time after
// it wait for the next round. Failed rounds are repeated with growing delays. Rounds after changes of facts and holdings
// carry out what has changed; all others, and one every Times.Every in any case, read everything back.
func (r *Reconciler) Run(ctx context.Context) error {
	facts, own := r.facts.Subscribe(), r.own.Subscribe()
	var watch sync.WaitGroup
	defer watch.Wait()
	watch.Go(func() {
		if err := r.links.Watch(ctx, r.Kick); err != nil {
			r.log.WithError(err).Warn("changes by others will be seen late")
		}
	})
	failures := 0
	var last time.Time // whole round
	for whole := true; ; {
		began := time.Now()
		if whole {
			last = began
		}
		quick, err := r.reconcile(ctx, whole)
		if ctx.Err() != nil {
			return nil
		} else if err != nil {
			r.log.WithError(err).Warn("not everything could be set, trying again")
			failures++
		} else {
			if failures > 0 {
				r.log.WithField("revision", r.facts.Snapshot().Revision).Info("everything is set again")
			}
			failures = 0
		}
		if !sleep(ctx, r.settle(quick, time.Since(began))) {
			return nil
		}
		pause := time.NewTimer(r.pause(failures, time.Since(last)))
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
			whole = true
		case <-r.kick:
			whole = true
		case <-facts:
			whole = failures > 0
		case <-own:
			whole = failures > 0
		}
		pause.Stop()
		whole = whole || time.Since(last) >= r.times.Every
	}
}

// settle is how long to gather changes after a round that took so long.
func (r *Reconciler) settle(quick bool, took time.Duration) time.Duration {
	if quick { // the next one asks little of the kernel, too
		return min(max(r.times.Settle/10, took), r.times.Settle)
	}
	// A slow round means that the kernel's locks are wanted by many, such as fifty containers that start at once: their
	// calls have a limit, so rounds leave them most of the time.
	return max(r.times.Settle, min(3*took, maxSettle))
}

// pause is how long to wait for a change before the next round, so long after the last whole one.
func (r *Reconciler) pause(failures int, whole time.Duration) time.Duration {
	if failures == 0 {
		return max(0, r.times.Every-whole)
	}
	d := r.times.MaxBackoff
	if shift := failures - 1; shift < 20 {
		d = min(d, r.times.Backoff<<shift)
	}
	// Jitter, so that hosts that failed together do not try together.
	return min(d/2+rand.N(d/2+1), r.times.Every)
}

// sleep waits for d; false when ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}
