package ipam

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/store"
)

// How long things last.
const (
	// unconfirmed is how long a pool is kept without its network, and an address without its endpoint. dockerd creates
	// both right after the request; only a reply that got lost leaves them alone.
	unconfirmed = 2 * time.Minute
	// rest is how long a freed dynamic address is not used again while there are others: neighbours may still have the
	// old container's connections in mind. An address that its last container asks for again does not rest.
	rest = time.Minute
	// memory is how long a freed address remembers whose it was, and how long an empty block is kept.
	memory = 24 * time.Hour
	// sweepEvery is how often Run looks for what has ended.
	sweepEvery = 10 * time.Second
)

// Options of an IPAM.
type Options struct {
	// Pools are for networks that are created without a subnet: the first is that of the network `default`, the others
	// go to networks with a name, the next free one each.
	Pools []netip.Prefix
	// Overlap names the route or nameserver of this host that a pool overlaps with, if any. nil: nothing is checked.
	Overlap func(netip.Prefix) (what string, err error)
	// Starting says for which container Docker asks just now, for engines before 29, which don't: with its ID and name, one of
	// those that had the leases or has the name of one. Empty: it is none of them, or not known. It must not take longer than a container's
	// start may be delayed. nil: nobody knows.
	Starting func(ctx context.Context, former []store.Lease) (id, name string)
	// Abandoned deletes a network of this host, by Docker's ID, if Docker has none of that ID, and says whether it did. It must
	// not take longer than the creation of a network may be delayed. nil: none is.
	Abandoned func(ctx context.Context, dockerID string) bool
	// Restore puts the fact of a network that this host uses back into etcd; store.ErrNoNetwork: the host does not use it.
	// nil: none is put back.
	Restore func(ctx context.Context, network string) error
	// Managed: a Swarm's leader allots the addresses, in the global address space (SCOPE=global). Networks that are proposed then
	// have no blocks.
	Managed bool
	// Now is the clock. nil: time.Now.
	Now func() time.Time
	// Log gets what happens in the background. nil: nothing is logged.
	Log *logrus.Entry
}

// IPAM hands out pools and addresses. All methods may be called concurrently.
type IPAM struct {
	st   *store.Store
	cp   *store.Checkpoint
	o    Options
	self string

	pooling  sync.Mutex            // one RequestPool at a time: choosing a pool looks at all others
	asked    map[string]ask        // automatic requests by PoolID, under pooling
	allotted map[string]netip.Addr // the last address that was allotted, by PoolID, under pooling
	growing  chan struct{}         // one claim of a block at a time: holds a value while somebody claims
}

// New returns an IPAM for the host that the checkpoint's identity names.
func New(st *store.Store, cp *store.Checkpoint, o Options) *IPAM {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &IPAM{st: st, cp: cp, o: o, self: cp.Local().Identity.HostID, asked: map[string]ask{}, allotted: map[string]netip.Addr{}, growing: make(chan struct{}, 1)}
}

// Run fetches blocks ahead of need and ends what nobody confirmed or uses any more, until ctx ends.
func (i *IPAM) Run(ctx context.Context) error {
	changed := i.cp.Subscribe()
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	seen := confirmed(i.cp.Local())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := i.sweep(); err != nil {
				i.log(err, "sweep of leases put off")
			}
		case <-changed:
		}
		seen = i.prefetch(ctx, seen)
	}
}

func (i *IPAM) log(err error, msg string) {
	if i.o.Log != nil {
		i.o.Log.WithError(err).Warn(msg)
	}
}

var (
	errFull    = errors.New("no free address in the blocks of this host")
	errNoBlock = errors.New("no block is left")
)

// errNoPool is for addresses of a pool that this host does not have.
func errNoPool(id string) error {
	return fmt.Errorf("pool %q is not known on this host; remove the network and create it again", id)
}

// facts waits for the first snapshot, as long as ctx lasts.
func (i *IPAM) facts(ctx context.Context) (*store.Snapshot, error) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		if s := i.st.Snapshot(); !s.Empty() {
			return s, nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			_, why := i.st.Healthy()
			return nil, fmt.Errorf("the environment's networks are not known yet: %w: %s", store.ErrUnreachable, why)
		}
	}
}
