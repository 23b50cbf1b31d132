package ipam

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshsec/meshsec/driver"
	"github.com/meshsec/meshsec/internal/drivertest"
	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

const (
	fleetPool   = "10.50.0.0/24" // its blocks are /30, so they change hands often
	crowd       = 30             // containers of a host: with four hosts a pool is nearly full at times
	callWithin  = 2 * time.Second
	fleetRemove = 3 * time.Second // RemovalGrace
)

// fleet is several hosts with both drivers, and what their Dockers do with them at once.
type fleet struct {
	t          *testing.T
	env        *teststore.Environment
	history    *history
	left       atomic.Int64 // operations until the end
	over       atomic.Bool
	containers atomic.Int64
	refused    atomic.Int64
}

// docker is a host: its Docker, which knows its containers, and the agent, which may be restarted under it.
type docker struct {
	*teststore.Host
	fleet *fleet
	name  string
	wire  *teststore.Wire
	clock *clock
	links *drivertest.Links
	pool  string
	agent atomic.Pointer[agent]
	stop  context.CancelFunc // of the agent's background work
	ended sync.WaitGroup
	work  sync.WaitGroup

	creating sync.Mutex // Docker asks for one address of a network at a time, and makes its endpoint before the next

	mu      sync.Mutex
	live    map[string]container // by endpoint ID
	removed bool
}

type container struct {
	number int
	addr   netip.Addr
}

// agent is one run of it.
type agent struct {
	ipam   *IPAM
	driver *driver.Driver
}

func newFleet(t *testing.T, ops int64) *fleet {
	f := &fleet{t: t, env: teststore.New(t), history: &history{start: time.Now()}}
	f.env.RemovalGrace = fleetRemove
	f.left.Store(ops)
	return f
}

func (f *fleet) join(name string, host func(string) (*teststore.Host, *teststore.Wire)) *docker {
	f.t.Helper()
	d := &docker{fleet: f, name: name, clock: &clock{now: time.Now()}, links: &drivertest.Links{}, live: map[string]container{}}
	d.Host, d.wire = host(name)
	d.open()
	f.t.Cleanup(d.close)
	a := d.agent.Load()
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	defer cancel()
	reply, err := a.ipam.RequestPool(ctx, PoolRequest{AddressSpace: LocalSpace, Pool: fleetPool})
	if err != nil {
		f.t.Fatal(err)
	}
	gateway, err := a.ipam.RequestAddress(ctx, AddressRequest{PoolID: reply.ID, Options: map[string]string{addressType: gatewayType}})
	if err != nil {
		f.t.Fatal(err)
	}
	d.pool = reply.ID
	err = a.driver.CreateNetwork(ctx, driver.NetworkRequest{ID: d.network(), IPv4: []driver.PoolData{
		{AddressSpace: LocalSpace, Pool: reply.Pool.String(), Gateway: gateway.String()}}})
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

func (d *docker) network() string { return "network-of-" + d.ID }

// open starts the agent's drivers on the present store.
func (d *docker) open() {
	a := &agent{driver: driver.New(d.Store, d.Checkpoint, d.links, driver.Options{
		MTU: func() int { return 1438 }, Now: d.clock.Now})}
	a.ipam = New(d.Store, d.Checkpoint, Options{Now: d.clock.Now, Restore: a.driver.Restore})
	ctx, cancel := context.WithCancel(context.Background())
	d.stop = cancel
	d.ended.Go(func() { _ = a.ipam.Run(ctx) })
	d.agent.Store(a)
}

func (d *docker) close() {
	d.stop()
	d.ended.Wait()
}

// kill ends the agent in the midst of its calls and starts it again. Then Docker's list is looked at, which is what tells of calls
// that met no agent: a container that lives must have its endpoint, and what no container has is let go.
func (d *docker) kill() {
	d.close()
	d.Restart()
	d.open()
	d.compare()
}

func (d *docker) compare() {
	d.creating.Lock()
	defer d.creating.Unlock()
	a, local := d.agent.Load(), d.Local()
	d.mu.Lock()
	live := maps.Clone(d.live)
	d.mu.Unlock()
	for id, e := range local.Endpoints {
		if _, lives := live[id]; !lives {
			d.end(a, id, e.Addr)
		}
	}
	for id, c := range live {
		if e, ok := local.Endpoints[id]; !ok || e.Addr != c.addr {
			d.mu.Lock()
			_, lives := d.live[id] // it may have ended meanwhile
			d.mu.Unlock()
			if lives {
				d.fleet.t.Errorf("host %s has lost the endpoint of container %d with %v", d.name, c.number, c.addr)
			}
		}
	}
}

// begin is a worker that starts and ends containers until the end or the host is removed.
func (d *docker) begin(r *rand.Rand) {
	d.work.Go(func() {
		for !d.fleet.over.Load() {
			d.mu.Lock()
			n, removed := len(d.live), d.removed
			d.mu.Unlock()
			if removed {
				return
			}
			if r.IntN(2*crowd) >= n {
				d.run(r)
			} else {
				d.rm(r)
			}
		}
	})
}

// run starts a container; one in four asks for an address, which half of the time is a static one.
func (d *docker) run(r *rand.Rand) {
	wish := ""
	switch r.IntN(8) {
	case 0:
		wish = fmt.Sprintf("10.50.0.%d", 2+r.IntN(62))
	case 1:
		wish = fmt.Sprintf("10.50.0.%d", 64+r.IntN(191))
	}
	d.creating.Lock()
	defer d.creating.Unlock()
	a, called := d.agent.Load(), d.fleet.history.now()
	ctx, cancel := context.WithTimeout(context.Background(), callWithin)
	defer cancel()
	got, err := a.ipam.RequestAddress(ctx, AddressRequest{PoolID: d.pool, Address: wish,
		Options: map[string]string{endpointName: fmt.Sprint("c", r.IntN(2*crowd))}})
	if err != nil {
		d.fleet.refused.Add(1)
		return
	}
	id := store.NewHostID() + store.NewHostID() + store.NewHostID() + store.NewHostID()
	_, err = a.driver.CreateEndpoint(ctx, driver.EndpointRequest{NetworkID: d.network(), EndpointID: id, Address: got.String()})
	if err == nil {
		_, err = a.driver.Join(ctx, d.network(), id, "/run/docker/netns/"+id[:12], nil)
	}
	if err != nil {
		d.end(a, id, got.Addr()) // Docker rolls back
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c := container{int(d.fleet.containers.Add(1)), got.Addr()}
	d.live[id] = c
	d.fleet.history.note(event{c.addr, c.number, d.name, true}, called, d.fleet.history.now())
	d.fleet.left.Add(-1)
}

// rm ends any container. Docker forgets it whatever it is answered.
func (d *docker) rm(r *rand.Rand) {
	d.mu.Lock()
	ids := slices.Sorted(maps.Keys(d.live))
	if len(ids) == 0 {
		d.mu.Unlock()
		return
	}
	id := ids[r.IntN(len(ids))]
	c := d.live[id]
	delete(d.live, id)
	called := d.fleet.history.now()
	d.mu.Unlock()
	d.end(d.agent.Load(), id, c.addr)
	d.fleet.history.note(event{c.addr, c.number, d.name, false}, called, d.fleet.history.now())
	d.fleet.left.Add(-1)
}

// end is each call once; one that fails is not repeated.
func (d *docker) end(a *agent, id string, addr netip.Addr) {
	ctx := context.Background()
	_ = a.driver.Leave(ctx, d.network(), id)
	_ = a.driver.DeleteEndpoint(ctx, d.network(), id)
	_ = a.ipam.ReleaseAddress(ctx, d.pool, addr.String())
}
