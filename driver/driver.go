package driver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/engine"
	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

// Links is what the driver needs of the router namespace; *link.Router is one. Methods may be called concurrently.
type Links interface {
	// EnsureBridge makes the network's bridge, after shutting the host's namespace for its pool.
	EnsureBridge(link.Bridge) error
	// AddVeth makes the pair of an endpoint: the container's end in the host's namespace, down.
	AddVeth(link.Veth) error
	// DelVeth deletes the pair, wherever its ends are; it is no error if there is none.
	DelVeth(containerEnd, routerEnd string) error
	// Veths lists the router ends that are there.
	Veths() ([]string, error)
	// GiveService gives a container, by the file of its network namespace, its route to the services by the pair.
	GiveService(sandbox, routerEnd string) error
}

// Options of a Driver.
type Options struct {
	// MTU is the largest packet, in bytes, that the tunnels of this host carry: the default of networks, and their limit.
	MTU func() int
	// Docker is the engine's API, for what Docker does not tell. nil: endpoints have no names but those that engines from
	// 29 on send, and what Docker forgot is not collected.
	Docker *engine.Client
	// Sandbox says where this process finds the network namespace that Docker calls by a path. nil: containers get no route
	// to services of this host.
	Sandbox func(key string) string
	// Now is the clock. nil: time.Now.
	Now func() time.Time
	// Log gets what happens in the background. nil: nothing is logged.
	Log *logrus.Entry
}

// Driver carries out Docker's calls. All methods may be called concurrently. None waits for another host, for etcd only
// CreateNetwork does, and for Docker's API, no longer than shortAnswer, CreateEndpoint with an interface name.
type Driver struct {
	st    *store.Store
	cp    *store.Checkpoint
	links Links
	o     Options
	self  string

	facts chan struct{} // holds a value while a network's fact is created or deleted
	look  chan struct{} // holds a value when an endpoint has joined since the last look at Docker's list

	known      known // of endpoints, from Docker
	engine     engineSeen
	containers containers

	mu      sync.Mutex
	missing map[string]time.Time // Docker ID → when Docker's list first lacked it
}

// New returns a Driver for the host that the checkpoint's identity names.
func New(st *store.Store, cp *store.Checkpoint, links Links, o Options) *Driver {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Driver{
		st: st, cp: cp, links: links, o: o, self: cp.Local().Identity.HostID,
		facts: make(chan struct{}, 1), look: make(chan struct{}, 1), missing: map[string]time.Time{},
	}
}

// Run keeps facts, names and Docker's list in step with the checkpoint, until ctx ends.
func (d *Driver) Run(ctx context.Context) error {
	var group sync.WaitGroup
	group.Go(func() { d.keepNetworks(ctx) })
	if d.o.Sandbox != nil {
		group.Go(func() { d.keepServices(ctx) })
	}
	if d.o.Docker != nil {
		group.Go(func() { d.watchDocker(ctx) })
		group.Go(func() { d.listen(ctx) })
	}
	group.Wait()
	return nil
}

// alone waits for its turn to create or delete a network's fact: what is deleted must not be just what a CreateNetwork of
// this host relies on. The caller gives the turn back by calling done.
func (d *Driver) alone(ctx context.Context) (done func(), err error) {
	select {
	case d.facts <- struct{}{}:
		return func() { <-d.facts }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("another network is being created or deleted: %w", ctx.Err())
	}
}

func (d *Driver) log(err error, msg string) {
	if d.o.Log != nil {
		d.o.Log.WithError(err).Warn(msg)
	}
}

// wake makes a channel of capacity 1 hold a value.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// command is what to type for a network of meshsec; it stands in the errors of everything that was typed otherwise.
const command = "docker network create -d meshsec --ipam-driver meshsec"

var errNoNetwork = errors.New("is not known to this host's plugin; remove the network and create it again")

// prefix reads an address or a pool in CIDR notation.
func prefix(what, text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("%s %q is not in CIDR notation", what, text)
	}
	if !p.Addr().Is4() {
		return p, fmt.Errorf("%s %s is not IPv4, which is all that networks of meshsec carry", what, text)
	}
	return p, nil
}
