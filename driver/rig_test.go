package driver

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshsec/meshsec/engine"
	"github.com/meshsec/meshsec/internal/drivertest"
	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/ipam"
	"github.com/meshsec/meshsec/link"
)

const tunnelMTU = 1438

// rig is a host with both drivers, real facts and links in memory.
type rig struct {
	*teststore.Host
	t      testing.TB
	ipam   *ipam.IPAM
	driver *Driver
	links  *drivertest.Links
	docker *engine.Client

	mu  sync.Mutex
	now time.Time
}

func newRig(t testing.TB, e *teststore.Environment, name string) *rig {
	t.Helper()
	return rigOf(t, e.Host(name))
}

func newWiredRig(t testing.TB, e *teststore.Environment, name string) (*rig, *teststore.Wire) {
	t.Helper()
	host, wire := e.WiredHost(name)
	return rigOf(t, host), wire
}

func rigOf(t testing.TB, host *teststore.Host) *rig {
	t.Helper()
	r := &rig{Host: host, t: t, links: &drivertest.Links{}, now: time.Now()}
	r.open()
	return r
}

func (r *rig) open() {
	r.driver = New(r.Store, r.Checkpoint, r.links, Options{MTU: func() int { return tunnelMTU }, Docker: r.docker, Now: r.Now})
	r.ipam = ipam.New(r.Store, r.Checkpoint, ipam.Options{Pools: []netip.Prefix{
		netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("10.43.0.0/16")}, Now: r.Now, Starting: r.driver.Starting, Restore: r.driver.Restore})
}

// restart loses all that is not on disk; links stay.
func (r *rig) restart() {
	r.Restart()
	r.open()
}

func (r *rig) Now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) Advance(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

// pool does what `docker network create` asks the IPAM driver first.
func (r *rig) pool(network string) (id string, data PoolData) {
	r.t.Helper()
	reply, err := r.ipam.RequestPool(context.Background(), ipam.PoolRequest{
		AddressSpace: ipam.LocalSpace, Options: map[string]string{"meshsec.network": network}})
	if err != nil {
		r.t.Fatal(err)
	}
	gateway, err := r.ipam.RequestAddress(context.Background(), ipam.AddressRequest{
		PoolID: reply.ID, Options: map[string]string{"RequestAddressType": "com.docker.network.gateway"}})
	if err != nil {
		r.t.Fatal(err)
	}
	return reply.ID, PoolData{AddressSpace: ipam.LocalSpace, Pool: reply.Pool.String(), Gateway: gateway.String()}
}

// network is the whole of `docker network create`. id is Docker's network ID.
func (r *rig) network(id, network string, options ...string) (poolID string) {
	r.t.Helper()
	poolID, data := r.pool(network)
	if err := r.driver.CreateNetwork(context.Background(), request(id, data, options...)); err != nil {
		r.t.Fatal(err)
	}
	return poolID
}

func request(id string, data PoolData, options ...string) NetworkRequest {
	words := map[string]any{}
	for i := 0; i < len(options); i += 2 {
		words[options[i]] = options[i+1]
	}
	return NetworkRequest{ID: id, IPv4: []PoolData{data}, Options: map[string]any{
		"com.docker.network.generic": words, "com.docker.network.enable_ipv4": true, "com.docker.network.enable_ipv6": false}}
}

func (r *rig) address(poolID, wish, container string) string {
	r.t.Helper()
	got, err := r.ipam.RequestAddress(context.Background(), ipam.AddressRequest{
		PoolID: poolID, Address: wish, Options: map[string]string{"com.docker.network.endpoint.name": container}})
	if err != nil {
		r.t.Fatal(err)
	}
	return got.String()
}

// start is the whole of a container's start, and gives its address in CIDR notation.
func (r *rig) start(networkID, poolID, endpointID, container string) string {
	r.t.Helper()
	addr := r.address(poolID, "", container)
	if _, err := r.driver.CreateEndpoint(context.Background(), EndpointRequest{NetworkID: networkID, EndpointID: endpointID, Address: addr}); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.driver.Join(context.Background(), networkID, endpointID, "/run/docker/netns/"+container, nil); err != nil {
		r.t.Fatal(err)
	}
	return addr
}

// end is the whole of a container's end.
func (r *rig) end(networkID, poolID, endpointID, addr string) {
	r.t.Helper()
	ctx := context.Background()
	for _, err := range []error{
		r.driver.Leave(ctx, networkID, endpointID), r.driver.DeleteEndpoint(ctx, networkID, endpointID),
		r.ipam.ReleaseAddress(ctx, poolID, netip.MustParsePrefix(addr).Addr().String()),
	} {
		if err != nil {
			r.t.Error(err)
		}
	}
}

// remove is the whole of `docker network rm`.
func (r *rig) remove(networkID, poolID string) {
	r.t.Helper()
	ctx := context.Background()
	gateway := r.Local().Networks[networkID].Gateway
	for _, err := range []error{
		r.ipam.ReleaseAddress(ctx, poolID, gateway.String()), r.ipam.ReleasePool(ctx, poolID), r.driver.DeleteNetwork(ctx, networkID),
	} {
		if err != nil {
			r.t.Error(err)
		}
	}
}

// empty checks that the checkpoint and the links have nothing left.
func (r *rig) empty() {
	r.t.Helper()
	if l := r.Local(); len(l.Networks)+len(l.Pools)+len(l.Leases)+len(l.Blocks)+len(l.Statics)+len(l.Endpoints) != 0 {
		r.t.Errorf("the checkpoint still holds %+v", l)
	}
	r.linkless()
}

func (r *rig) linkless() {
	r.t.Helper()
	if veths, err := r.links.Veths(); err != nil || len(veths) != 0 {
		r.t.Errorf("links left: %v, %v", veths, err)
	}
}

func veth(r *rig, endpointID string) (link.Veth, bool) {
	container, _ := link.EndpointLink(endpointID)
	return r.links.Veth(container)
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
