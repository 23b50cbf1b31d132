package ipam

import (
	"cmp"
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshsec/meshsec/driver"
	"github.com/meshsec/meshsec/internal/drivertest"
	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

// clock is one that only moves when it is told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rig is a host with its IPAM driver. The network driver only restores and deletes networks' facts; the rest of its part is
// played by the tests.
type rig struct {
	*teststore.Host
	t      testing.TB
	ipam   *IPAM
	driver *driver.Driver
	clock  *clock
	busy   map[netip.Prefix]string // what the host's routes and nameservers overlap with

	budget   time.Duration // of a call; 0: 2 s, as in the plugin
	managed  bool          // SCOPE=global
	starting func(context.Context, []store.Lease) (string, string)
}

func newRig(t testing.TB, e *teststore.Environment, name string) *rig {
	t.Helper()
	r := &rig{Host: e.Host(name), t: t, clock: &clock{now: time.Now()}, busy: map[netip.Prefix]string{}}
	r.open()
	return r
}

func (r *rig) open() {
	r.driver = driver.New(r.Store, r.Checkpoint, &drivertest.Links{}, driver.Options{MTU: func() int { return 1438 }, Now: r.clock.Now})
	r.ipam = New(r.Store, r.Checkpoint, Options{
		Pools: []netip.Prefix{p("10.42.0.0/16"), p("10.43.0.0/16"), p("10.44.0.0/16")},
		Now:   r.clock.Now, Starting: r.starting, Restore: r.driver.Restore, Managed: r.managed,
		Overlap: func(pool netip.Prefix) (string, error) {
			for other, what := range r.busy {
				if other.Overlaps(pool) {
					return what, nil
				}
			}
			return "", nil
		},
	})
}

// restart loses all that is not on disk.
func (r *rig) restart() {
	r.Restart()
	r.open()
}

// pool asks for a pool: --subnet, --ip-range, then --ipam-opt keys and values.
func (r *rig) pool(subnet, ipRange string, options ...string) (PoolReply, error) {
	req := PoolRequest{AddressSpace: LocalSpace, Pool: subnet, SubPool: ipRange, Options: map[string]string{}}
	for i := 0; i < len(options); i += 2 {
		req.Options[options[i]] = options[i+1]
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return r.ipam.RequestPool(ctx, req)
}

func (r *rig) mustPool(subnet, ipRange string, options ...string) PoolReply {
	r.t.Helper()
	reply, err := r.pool(subnet, ipRange, options...)
	if err != nil {
		r.t.Fatal(err)
	}
	return reply
}

// address asks for an address ("" is any); with a key of options and its value it is for a gateway or a container's name.
func (r *rig) address(id, addr string, options ...string) (netip.Prefix, error) {
	req := AddressRequest{PoolID: id, Address: addr}
	if len(options) > 0 {
		req.Options = map[string]string{options[0]: options[1]}
	}
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(r.budget, 2*time.Second))
	defer cancel()
	return r.ipam.RequestAddress(ctx, req)
}

func (r *rig) mustAddress(id, addr string, options ...string) netip.Addr {
	r.t.Helper()
	got, err := r.address(id, addr, options...)
	if err != nil {
		r.t.Fatal(err)
	}
	return got.Addr()
}

func (r *rig) release(id string, addr netip.Addr) {
	r.t.Helper()
	if err := r.ipam.ReleaseAddress(context.Background(), id, addr.String()); err != nil {
		r.t.Fatal(err)
	}
}

// network asks for a pool and its gateway, and does what the driver's CreateNetwork does with them.
func (r *rig) network(subnet, ipRange string, options ...string) string {
	r.t.Helper()
	reply := r.mustPool(subnet, ipRange, options...)
	r.mustAddress(reply.ID, "", addressType, gatewayType)
	r.confirm(reply.ID)
	return reply.ID
}

func (r *rig) confirm(id string) {
	r.t.Helper()
	fact := r.Local().Pools[id].Fact
	fact.Since = r.clock.Now()
	there, err := r.Store.CreateNetwork(context.Background(), fact)
	if err != nil {
		r.t.Fatal(err)
	}
	r.update(func(l *store.Local) {
		pool := l.Pools[id]
		pool.Fact, pool.Confirmed = there, true
		l.Pools[id] = pool
		l.Networks["docker-"+there.Name] = store.LocalNetwork{DockerID: "docker-" + there.Name, Network: there.Name, PoolID: id, Pool: there.Pool, Gateway: there.Gateway}
	})
	r.Wait("the network's fact", func() bool { return r.Store.Snapshot().Networks[there.Name].Name != "" })
}

// endpoint does what CreateEndpoint and Join do; gone is DeleteEndpoint.
func (r *rig) endpoint(id, container string, addr netip.Addr) {
	r.t.Helper()
	r.update(func(l *store.Local) {
		l.Endpoints["ep"+addr.String()] = store.LocalEndpoint{Joined: true, Endpoint: store.Endpoint{
			V: store.Version, ID: "ep" + addr.String(), Host: r.ID, Network: l.Pools[id].Network, Addr: addr, MAC: "02:6d:00:00:00:01", Name: container}}
	})
}

func (r *rig) gone(addr netip.Addr) {
	r.t.Helper()
	r.update(func(l *store.Local) { delete(l.Endpoints, "ep"+addr.String()) })
}

func (r *rig) update(fn func(*store.Local)) {
	r.t.Helper()
	if err := r.Checkpoint.Update(func(l *store.Local) error { fn(l); return nil }); err != nil {
		r.t.Fatal(err)
	}
}

// sees waits until a host knows another one's claims.
func (r *rig) sees(other *rig) {
	r.t.Helper()
	r.Wait("the other host's claims", func() bool {
		snap := r.Store.Snapshot()
		for k := range other.Local().Blocks {
			if snap.Blocks[k].Host != other.ID {
				return false
			}
		}
		for k := range other.Local().Statics {
			if snap.Statics[k].Host != other.ID {
				return false
			}
		}
		for _, e := range other.Local().Endpoints {
			if _, ok := snap.Endpoint(e.Key()); !ok {
				return false
			}
		}
		return snap.Hosts[other.ID].Name != ""
	})
}

// refused checks that an error says all of the words.
func refused(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("accepted, though it should be refused with %q", words)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
}
