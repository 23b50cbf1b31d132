package driver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/meshsec/meshsec/internal/drivertest"
	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/link"
)

func TestCase4Join(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	ctx := context.Background()
	pool := r.network(net1, "blue")
	_, err := r.driver.Join(ctx, net1, ep1, "/run/docker/netns/1", nil)
	refused(t, err, ep1[:12], "not known")
	_, err = r.driver.Join(ctx, net2, ep1, "/run/docker/netns/1", nil)
	refused(t, err, net2[:12], "not known")

	addr := r.start(net1, pool, ep1, "web")
	v, ok := veth(r, ep1)
	if !ok || v.MTU != tunnelMTU || v.Bridge != link.BridgeName("blue") || v.MAC.String() != r.Local().Endpoints[ep1].MAC {
		t.Errorf("veth %+v", v)
	}
	n := r.Local().Networks[net1]
	if b, ok := r.links.Bridge(v.Bridge); !ok || b.Pool != n.Pool || b.Gateway != n.Gateway || b.MTU != tunnelMTU || b.MAC.String() != link.MACOf(n.Gateway).String() {
		t.Errorf("bridge %+v", b)
	}
	// Again: the same answer, and the link, which Docker may have moved, is not touched.
	r.links.Fail("AddVeth", 1)
	reply, err := r.driver.Join(ctx, net1, ep1, "/run/docker/netns/web", nil)
	if err != nil || reply != (JoinReply{SrcName: v.ContainerEnd, DstPrefix: "eth"}) {
		t.Errorf("got %+v, %v", reply, err)
	}
	r.links.Fail("AddVeth", 0)
	// In another sandbox, or with the link gone, it is made anew.
	if err := r.links.DelVeth("", v.RouterEnd); err != nil {
		t.Fatal(err)
	}
	if _, err := r.driver.Join(ctx, net1, ep1, "/run/docker/netns/web", nil); err != nil {
		t.Error(err)
	}
	if _, ok := veth(r, ep1); !ok {
		t.Error("the link is not there when Join answers")
	}
	r.end(net1, pool, ep1, addr)
	r.linkless()
}

func TestCase4MTUOfTheNetwork(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	pool := r.network(net1, "blue", "com.docker.network.driver.mtu", "1300")
	r.start(net1, pool, ep1, "web")
	if v, _ := veth(r, ep1); v.MTU != 1300 {
		t.Errorf("MTU %d", v.MTU)
	}
}

func TestJoinThatFailsLeavesNothing(t *testing.T) {
	for _, method := range []string{"EnsureBridge", "AddVeth"} {
		r := newRig(t, teststore.New(t), "one")
		pool := r.network(net1, "blue")
		addr := r.address(pool, "", "web")
		if _, err := r.driver.CreateEndpoint(t.Context(), EndpointRequest{NetworkID: net1, EndpointID: ep1, Address: addr}); err != nil {
			t.Fatal(err)
		}
		r.links.Fail(method, 1)
		if _, err := r.driver.Join(t.Context(), net1, ep1, "/run/docker/netns/1", nil); !errors.Is(err, drivertest.ErrInjected) {
			t.Errorf("%s: got %v", method, err)
		}
		if r.Local().Endpoints[ep1].Joined {
			t.Errorf("%s: joined", method)
		}
		r.end(net1, pool, ep1, addr) // what Docker does then
		r.remove(net1, pool)
		r.empty()
	}
}

func TestCase12DeleteEndpointOvertakesJoin(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	pool := r.network(net1, "blue")
	addr := r.address(pool, "", "web")
	if _, err := r.driver.CreateEndpoint(t.Context(), EndpointRequest{NetworkID: net1, EndpointID: ep1, Address: addr}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	once := sync.Once{}
	r.links.Before = func(method string) {
		if method == "AddVeth" { // Docker gives up just now, and cleans up
			once.Do(func() {
				cancel()
				r.end(net1, pool, ep1, addr)
			})
		}
	}
	_, err := r.driver.Join(ctx, net1, ep1, "/run/docker/netns/1", nil)
	refused(t, err, "not known")
	r.linkless()
	if len(r.Local().Endpoints) != 0 {
		t.Error("the endpoint is back")
	}
	// And one whose context has ended before it began does nothing.
	r.links.Before = nil
	addr = r.address(pool, "", "web")
	if _, err := r.driver.CreateEndpoint(t.Context(), EndpointRequest{NetworkID: net1, EndpointID: ep2, Address: addr}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.driver.Join(ctx, net1, ep2, "/run/docker/netns/1", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	r.linkless()
}

func TestCase11EverythingAtOnce(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	pools := map[string]string{net1: r.network(net1, "blue"), net2: r.network(net2, "default")}
	var group sync.WaitGroup
	for n := range 24 {
		for network, pool := range pools {
			group.Go(func() {
				id := fmt.Sprintf("%02d%s", n, network)
				for range 3 {
					addr := r.start(network, pool, id, id)
					if _, ok := veth(r, id); !ok {
						t.Error("no link")
					}
					r.end(network, pool, id, addr)
				}
			})
		}
	}
	group.Wait()
	r.linkless()
	for network, pool := range pools {
		r.remove(network, pool)
	}
	r.empty()
}

// The plugin is killed after each of Docker's calls; what Docker does next to clean up leaves nothing behind.
func TestCase13KilledAtEachPoint(t *testing.T) {
	e := teststore.New(t)
	ctx := context.Background()
	for point := range 6 {
		t.Run(fmt.Sprint(point), func(t *testing.T) {
			r := newRig(t, e, fmt.Sprint("host", point))
			killed := 0
			step := func() {
				if killed == point {
					r.restart()
				}
				killed++
			}
			pool, data := r.pool("blue")
			step()
			if err := r.driver.CreateNetwork(ctx, request(net1, data)); err != nil {
				t.Fatal(err)
			}
			step()
			addr := r.address(pool, "", "web")
			step()
			if _, err := r.driver.CreateEndpoint(ctx, EndpointRequest{NetworkID: net1, EndpointID: ep1, Address: addr}); err != nil {
				t.Fatal(err)
			}
			step()
			if _, err := r.driver.Join(ctx, net1, ep1, "/run/docker/netns/1", nil); err != nil {
				t.Fatal(err)
			}
			step()
			if err := r.driver.Leave(ctx, net1, ep1); err != nil {
				t.Fatal(err)
			}
			step()
			r.end(net1, pool, ep1, addr)
			r.linkless()
			r.remove(net1, pool)
			r.empty()
		})
	}
}
