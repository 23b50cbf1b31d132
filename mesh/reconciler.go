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
	Settle  time.Duration // after a round, so that a burst of changes becomes one more: 20 ms
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

	round sync.Mutex // one round at a time
	kinds map[Home]bool

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
// it wait for the next round. Failed rounds are repeated with growing delays.
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
	for {
		began := time.Now()
		if err := r.Reconcile(ctx); ctx.Err() != nil {
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
		// A slow round means that the kernel's locks are wanted by many, such as fifty containers that start at once: their
		// calls have a limit, so rounds leave them most of the time.
		settle := max(r.times.Settle, min(3*time.Since(began), maxSettle))
		if !wait(ctx, settle, nil, nil, nil) || !wait(ctx, r.pause(failures), facts, own, r.kick) {
			return nil
		}
	}
}

// pause is how long to wait for a change before the next round.
func (r *Reconciler) pause(failures int) time.Duration {
	if failures == 0 {
		return r.times.Every
	}
	d := r.times.MaxBackoff
	if shift := failures - 1; shift < 20 {
		d = min(d, r.times.Backoff<<shift)
	}
	// Jitter, so that hosts that failed together do not try together.
	return min(d/2+rand.N(d/2+1), r.times.Every)
}

// wait returns when d has passed or one of the channels has a value; false when ctx has ended.
func wait(ctx context.Context, d time.Duration, a, b, c <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-a:
	case <-b:
	case <-c:
	}
	return ctx.Err() == nil
}
