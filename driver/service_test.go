package driver

import (
	"context"
	"testing"
	"time"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

// served is a rig whose containers get a route to the services, with two networks.
func served(t *testing.T) (r *rig, blue, green string) {
	r = newRig(t, teststore.New(t), "one")
	r.driver.o.Sandbox = func(key string) string { return "/host" + key }
	return r, r.network(net1, "blue"), r.network(net2, "default")
}

// joins starts an endpoint in a sandbox and tells whether Docker was given the route.
func (r *rig) joins(network, pool, endpoint, sandbox string) bool {
	r.t.Helper()
	addr := r.address(pool, "", "c")
	if _, err := r.driver.CreateEndpoint(r.t.Context(), EndpointRequest{NetworkID: network, EndpointID: endpoint, Address: addr}); err != nil {
		r.t.Fatal(err)
	}
	return r.joinsAgain(network, endpoint, sandbox)
}

func (r *rig) joinsAgain(network, endpoint, sandbox string) bool {
	r.t.Helper()
	reply, err := r.driver.Join(r.t.Context(), network, endpoint, sandbox, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return reply.OnLink == link.ServiceAddr
}

// gets waits until the agent has given the sandbox its route by the endpoint.
func (r *rig) gets(sandbox, endpoint string) {
	r.t.Helper()
	_, want := link.EndpointLink(endpoint)
	deadline := time.Now().Add(10 * time.Second)
	changes := r.Checkpoint.Subscribe()
	for r.links.Served("/host"+sandbox) != want {
		if time.Now().After(deadline) {
			r.t.Fatalf("sandbox %s: route by %q, want %q", sandbox, r.links.Served("/host"+sandbox), want)
		}
		select {
		case <-changes:
		case <-time.After(time.Millisecond):
		}
	}
}

const (
	box, box2 = "/run/docker/netns/1", "/run/docker/netns/2"
	ep3       = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

func TestServiceRouteOncePerSandbox(t *testing.T) {
	r, blue, green := served(t)
	if !r.joins(net1, blue, ep1, box) {
		t.Error("the first endpoint of a container got no route")
	}
	if r.joins(net2, green, ep2, box) {
		t.Error("the second got one as well, which Docker refuses")
	}
	if !r.joinsAgain(net1, ep1, box) || r.joinsAgain(net2, ep2, box) {
		t.Error("the same calls got other answers")
	}
	r.restart()
	r.driver.o.Sandbox = func(key string) string { return key }
	if !r.joinsAgain(net1, ep1, box) || r.joinsAgain(net2, ep2, box) {
		t.Error("the same calls got other answers after a restart")
	}
	if !r.joins(net1, blue, ep3, box2) {
		t.Error("another container got no route")
	}
}

func TestServiceRouteIsHandedOn(t *testing.T) {
	for name, leaves := range map[string]func(r *rig) error{
		"leave":  func(r *rig) error { return r.driver.Leave(context.Background(), net1, ep1) },
		"delete": func(r *rig) error { return r.driver.DeleteEndpoint(context.Background(), net1, ep1) },
		"forgotten": func(r *rig) error {
			return r.Checkpoint.Update(func(l *store.Local) error { r.driver.collect(l, ep1); return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, blue, green := served(t)
			r.joins(net1, blue, ep1, box)
			r.joins(net2, green, ep2, box)
			r.run()
			r.links.Fail("GiveService", 2) // it is tried until it works
			if err := leaves(r); err != nil {
				t.Fatal(err)
			}
			r.gets(box, ep2)
			if e := r.Local().Endpoints[ep2]; e.Services != store.RouteByAgent {
				t.Errorf("%+v", e)
			}
			// It comes back: Docker must not be told to add what is there.
			if name == "leave" && r.joinsAgain(net1, ep1, box) {
				t.Error("two routes")
			}
		})
	}
}

func TestServiceRouteOfTheLastIsNobodys(t *testing.T) {
	r, blue, _ := served(t)
	r.joins(net1, blue, ep1, box)
	if err := r.driver.Leave(t.Context(), net1, ep1); err != nil {
		t.Fatal(err)
	}
	if e := r.Local().Endpoints[ep1]; e.Services != store.RouteNone || e.Joined {
		t.Errorf("%+v", e)
	}
	if !r.joinsAgain(net1, ep1, box2) {
		t.Error("no route in the next sandbox")
	}
	// Straight into another sandbox, without a Leave.
	if !r.joinsAgain(net1, ep1, box) {
		t.Error("no route in the third sandbox")
	}
}

func TestContainersFromBeforeTheServicesGetTheRoute(t *testing.T) {
	r, blue, green := served(t)
	r.driver.o.Sandbox = nil // as an agent without services
	if r.joins(net2, green, ep2, box) || r.joins(net1, blue, ep1, box) {
		t.Fatal("a route without services")
	}
	r.restart()
	r.driver.o.Sandbox = func(key string) string { return "/host" + key }
	r.run()
	r.gets(box, ep1) // network blue comes first
	if r.links.Served(box2) != "" {
		t.Error("more routes than containers")
	}
}
