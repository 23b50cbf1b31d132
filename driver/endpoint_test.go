package driver

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

// shortly is time enough for a call that waits in vain.
const shortly = 300 * time.Millisecond

func TestCase3CreateEndpoint(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	ctx := context.Background()
	pool := r.network(net1, "blue")
	addr := r.address(pool, "10.43.0.9", "web")
	req := EndpointRequest{NetworkID: net1, EndpointID: ep1, Address: addr, Options: map[string]any{
		"com.docker.network.portmap": []any{}, "com.docker.network.endpoint.exposedports": []any{}, "com.docker.network.endpoint.macaddress": "AkL/"}}
	want := link.MACOf(netip.MustParseAddr("10.43.0.9")).String()
	for range 2 {
		if got, err := r.driver.CreateEndpoint(ctx, req); err != nil || got.MAC != want {
			t.Fatalf("got %+v, %v", got, err)
		}
		r.restart()
	}
	e := r.Local().Endpoints[ep1]
	if e.Addr != netip.MustParseAddr("10.43.0.9") || e.MAC != want || e.Network != "blue" || e.Name != "web" || e.Host != r.ID || e.DockerNetwork != net1 || e.Joined {
		t.Errorf("written down: %+v", e)
	}
	r.Wait("the fact", func() bool {
		_, ok := r.Store.Snapshot().Endpoint(store.EndpointKey{Host: r.ID, Network: "blue", Addr: e.Addr})
		return ok
	})
	other := req
	other.MAC = "02:00:00:00:00:01"
	_, err := r.driver.CreateEndpoint(ctx, other)
	refused(t, err, "exists", "10.43.0.9", want)

	// A MAC address of the user's is not repeated in the answer.
	req = EndpointRequest{NetworkID: net1, EndpointID: ep2, Address: r.address(pool, "", "db"), MAC: "02:42:AC:11:00:02"}
	if got, err := r.driver.CreateEndpoint(ctx, req); err != nil || got.MAC != "" || r.Local().Endpoints[ep2].MAC != "02:42:ac:11:00:02" {
		t.Errorf("got %+v, %v, %+v", got, err, r.Local().Endpoints[ep2])
	}
}

func TestCase3EndpointsThatAreRefused(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	pool := r.network(net1, "blue")
	taken := r.start(net1, pool, ep1, "web")
	free := r.address(pool, "", "db")
	for name, c := range map[string]struct {
		req   EndpointRequest
		words []string
	}{
		"no network ID":   {EndpointRequest{EndpointID: ep2, Address: free}, []string{"missing"}},
		"no endpoint ID":  {EndpointRequest{NetworkID: net1, Address: free}, []string{"missing"}},
		"unknown network": {EndpointRequest{NetworkID: net2, EndpointID: ep2, Address: free}, []string{net2[:12], "not known"}},
		"no address":      {EndpointRequest{NetworkID: net1, EndpointID: ep2}, []string{"--ipam-driver meshsec"}},
		"garbage":         {EndpointRequest{NetworkID: net1, EndpointID: ep2, Address: "10.43.0.9"}, []string{"CIDR"}},
		"v6":              {EndpointRequest{NetworkID: net1, EndpointID: ep2, Address: free, AddressIPv6: "fd00::9/64"}, []string{"IPv4 only"}},
		"v6 as v4":        {EndpointRequest{NetworkID: net1, EndpointID: ep2, Address: "fd00::9/64"}, []string{"not IPv4"}},
		"not leased":      {EndpointRequest{NetworkID: net1, EndpointID: ep2, Address: "10.43.9.9/16"}, []string{"10.43.9.9", "not reserved"}},
		"the gateway":     {EndpointRequest{NetworkID: net1, EndpointID: ep2, Address: "10.43.0.1/16"}, []string{"10.43.0.1", "not reserved"}},
		"taken":           {EndpointRequest{NetworkID: net1, EndpointID: ep2, Address: taken}, []string{"taken by container web"}},
		"garbage MAC":     {EndpointRequest{NetworkID: net1, EndpointID: ep2, Address: free, MAC: "x"}, []string{"MAC"}},
		"long MAC":        {EndpointRequest{NetworkID: net1, EndpointID: ep2, Address: free, MAC: "02:00:00:00:00:00:00:01"}, []string{"MAC"}},
		"group MAC":       {EndpointRequest{NetworkID: net1, EndpointID: ep2, Address: free, MAC: "01:00:5e:00:00:01"}, []string{"group"}},
		"--ip6":           {EndpointRequest{NetworkID: net1, EndpointID: ep2, Address: free, AddressIPv6: "fd00::9/64"}, []string{"--ip6"}},
		"foreign option":  {EndpointRequest{NetworkID: net1, EndpointID: ep2, Address: free, Options: map[string]any{"speed": "1"}}, []string{"driver option speed"}},
		"name of the interface": {EndpointRequest{NetworkID: net1, EndpointID: ep2, Address: free,
			Options: map[string]any{"com.docker.network.endpoint.ifname": "foo0"}}, []string{"com.docker.network.endpoint.ifname", "leave it out"}},
		"MTU of one endpoint": {EndpointRequest{NetworkID: net1, EndpointID: ep2, Address: free,
			Options: map[string]any{"com.docker.network.driver.mtu": "1400"}}, []string{"com.docker.network.driver.mtu", "network create"}},
		"the bridge driver's": {EndpointRequest{NetworkID: net1, EndpointID: ep2, Address: free,
			Options: map[string]any{"com.docker.network.bridge.name": "br0"}}, []string{"com.docker.network.bridge.name"}},
		"own option": {EndpointRequest{NetworkID: net1, EndpointID: ep2, Address: free, Options: map[string]any{"meshsec.speed": "1"}}, []string{"meshsec.speed"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.driver.CreateEndpoint(context.Background(), c.req)
			refused(t, err, c.words...)
		})
	}
	if n := len(r.Local().Endpoints); n != 1 {
		t.Errorf("%d endpoints", n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.driver.CreateEndpoint(ctx, EndpointRequest{NetworkID: net1, EndpointID: ep2, Address: free}); err == nil || len(r.Local().Endpoints) != 1 {
		t.Error("an endpoint was made that Docker has given up")
	}
}

func TestCase5LeaveAndDelete(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	ctx := context.Background()
	pool := r.network(net1, "blue")
	for range 2 { // unknown
		if err := r.driver.Leave(ctx, net1, ep1); err != nil {
			t.Error(err)
		}
		if err := r.driver.DeleteEndpoint(ctx, net1, ep1); err != nil {
			t.Error(err)
		}
	}
	addr := r.address(pool, "", "web")
	if _, err := r.driver.CreateEndpoint(ctx, EndpointRequest{NetworkID: net1, EndpointID: ep1, Address: addr}); err != nil {
		t.Fatal(err)
	}
	if err := r.driver.Leave(ctx, net1, ep1); err != nil { // never joined
		t.Error(err)
	}
	if _, err := r.driver.Join(ctx, net1, ep1, "/run/docker/netns/1", nil); err != nil {
		t.Fatal(err)
	}
	if !r.Local().Endpoints[ep1].Joined {
		t.Error("not joined")
	}
	if err := r.driver.DeleteEndpoint(ctx, net1, ep1); err != nil { // without Leave
		t.Error(err)
	}
	r.linkless()

	addr = r.start(net1, pool, ep1, "web")
	for range 2 {
		if err := r.driver.Leave(ctx, net1, ep1); err != nil || r.Local().Endpoints[ep1].Joined {
			t.Error(err, "or still joined")
		}
	}
	if _, ok := veth(r, ep1); !ok {
		t.Error("Leave has deleted the link, which is still in the container")
	}
	_, router := link.EndpointLink(ep1)
	if err := r.links.DelVeth("", router); err != nil { // the namespace has died
		t.Fatal(err)
	}
	for range 2 {
		r.end(net1, pool, ep1, addr)
	}
	if n := len(r.Local().Endpoints); n != 0 {
		t.Errorf("%d endpoints", n)
	}
}

func TestADeleteThatFailsIsNotForgottenInTheFacts(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	pool := r.network(net1, "blue")
	r.start(net1, pool, ep1, "web")
	r.links.Fail("DelVeth", 1)
	if err := r.driver.DeleteEndpoint(context.Background(), net1, ep1); err == nil {
		t.Error("no error for Docker's log")
	}
	if len(r.Local().Endpoints) != 0 {
		t.Error("the endpoint is still there, and nobody will delete it")
	}
}
