package driver

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

const (
	net1 = "1111111111111111111111111111111111111111111111111111111111111111"
	net2 = "2222222222222222222222222222222222222222222222222222222222222222"
	ep1  = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	ep2  = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestCase2CreateNetworkTwice(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	ctx := context.Background()
	_, data := r.pool("blue")
	req := request(net1, data, "meshsec.mtu", "1400", "meshsec.network", "blue")
	for range 2 {
		if err := r.driver.CreateNetwork(ctx, req); err != nil {
			t.Fatal(err)
		}
		r.restart()
	}
	if n := r.Local().Networks[net1]; n.Network != "blue" || n.MTU != 1400 || !n.Gateway.IsValid() || n.Pool.String() != data.Pool {
		t.Errorf("got %+v", n)
	}
	for _, p := range r.Local().Pools {
		if !p.Confirmed {
			t.Error("the pool is not confirmed")
		}
	}
	r.Wait("the fact", func() bool { return r.Store.Snapshot().Networks["blue"].Pool.String() == data.Pool })

	other := request(net1, data, "meshsec.mtu", "1300")
	refused(t, r.driver.CreateNetwork(ctx, other), net1[:12], "exists")
	other = request(net1, data, "meshsec.mtu", "1400", "meshsec.network", "blue")
	other.Options[internal] = true
	refused(t, r.driver.CreateNetwork(ctx, other), net1[:12], "exists")
	refused(t, r.driver.CreateNetwork(ctx, request(net2, data)), "blue", "already on this host", net1[:12])
}

func TestCase2DeleteNetwork(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	ctx := context.Background()
	if err := r.driver.DeleteNetwork(ctx, net1); err != nil {
		t.Error(err)
	}
	pool := r.network(net1, "blue")
	r.start(net1, pool, ep1, "web")
	r.start(net1, pool, ep2, "db")
	for range 2 {
		if err := r.driver.DeleteNetwork(ctx, net1); err != nil {
			t.Error(err)
		}
	}
	r.empty()
	r.network(net2, "blue") // and again
}

func TestNetworkRequestsThatAreRefused(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	_, data := r.pool("default")
	with := func(change func(*NetworkRequest)) NetworkRequest {
		req := request(net1, data)
		change(&req)
		return req
	}
	generic := func(options ...string) NetworkRequest { return request(net1, data, options...) }
	for name, c := range map[string]struct {
		req   NetworkRequest
		words []string
	}{
		"no ID": {with(func(q *NetworkRequest) { q.ID = "" }), []string{"NetworkID"}},
		"default IPAM": {with(func(q *NetworkRequest) { q.IPv4[0].AddressSpace = "LocalDefault" }),
			[]string{"docker network create -d meshsec --ipam-driver meshsec NAME"}},
		"global IPAM": {with(func(q *NetworkRequest) { q.IPv4[0].AddressSpace = "GlobalDefault" }),
			[]string{"docker network create -d meshsec --ipam-driver meshsec NAME"}},
		"other IPAM":      {with(func(q *NetworkRequest) { q.IPv4[0].Pool, q.IPv4[0].Gateway = "10.9.0.0/16", "10.9.0.1/16" }), []string{"10.9.0.0/16", "--ipam-driver meshsec"}},
		"two pools":       {with(func(q *NetworkRequest) { q.IPv4 = append(q.IPv4, data) }), []string{"one pool, not 2"}},
		"no pool":         {with(func(q *NetworkRequest) { q.IPv4 = nil }), []string{"one pool, not 0"}},
		"v6 data":         {with(func(q *NetworkRequest) { q.IPv6 = []PoolData{data} }), []string{"--ipv6"}},
		"v6":              {with(func(q *NetworkRequest) { q.Options[enableIPv6] = true }), []string{"--ipv6"}},
		"no v4":           {with(func(q *NetworkRequest) { q.Options[enableIPv4] = false }), []string{"--ipv4=false"}},
		"garbage pool":    {with(func(q *NetworkRequest) { q.IPv4[0].Pool = "x" }), []string{"CIDR"}},
		"garbage gateway": {with(func(q *NetworkRequest) { q.IPv4[0].Gateway = "" }), []string{"gateway"}},
		"gateway outside": {with(func(q *NetworkRequest) { q.IPv4[0].Gateway = "10.9.0.1/16" }), []string{"outside the pool"}},
		"garbage aux":     {with(func(q *NetworkRequest) { q.IPv4[0].Aux = map[string]string{"a": "x"} }), []string{"auxiliary"}},
		"generic no map":  {with(func(q *NetworkRequest) { q.Options["com.docker.network.generic"] = "x" }), []string{"no map"}},
		"generic number":  {with(func(q *NetworkRequest) { q.Options["com.docker.network.generic"] = map[string]any{"a": 1.0} }), []string{"no text"}},
		"unknown option":  {generic("meshsec.mut", "1400"), []string{"-o meshsec.mut", "meshsec.mtu", "meshsec.network", "com.docker.network.driver.mtu"}},
		"foreign option":  {generic("encrypted", "true"), []string{"-o encrypted is not known"}},
		"MTU too large":   {generic("meshsec.mtu", "1439"), []string{"576 to 1438", "1439"}},
		"MTU too small":   {generic("com.docker.network.driver.mtu", "575"), []string{"576 to 1438"}},
		"MTU garbage":     {generic("meshsec.mtu", "big"), []string{"576 to 1438", "big"}},
		"MTU twice":       {generic("meshsec.mtu", "1400", "com.docker.network.driver.mtu", "1300"), []string{"contradict"}},
		"other network":   {generic("meshsec.network", "blue"), []string{"network default", "--ipam-opt meshsec.network=blue NAME"}},
	} {
		t.Run(name, func(t *testing.T) { refused(t, r.driver.CreateNetwork(context.Background(), c.req), c.words...) })
	}
	if l := r.Local(); len(l.Networks) != 0 || len(r.Store.Snapshot().Networks) != 0 {
		t.Errorf("half done: %+v", l)
	}
	req := request(net1, data, "meshsec.mtu", "1400", "com.docker.network.driver.mtu", "1400")
	req.Options[internal] = true
	if err := r.driver.CreateNetwork(context.Background(), req); err != nil || !r.Local().Networks[net1].Internal {
		t.Errorf("got %v, %+v", err, r.Local().Networks)
	}
}

func TestASecondHostGetsTheSameNetwork(t *testing.T) {
	e := teststore.New(t)
	one, two := newRig(t, e, "one"), newRig(t, e, "two")
	ctx := context.Background()
	pool1, data1 := one.pool("blue")
	pool2, data2 := two.pool("blue") // at the same time: neither knows of the other yet
	data1.Aux = map[string]string{"printer": "10.43.0.7/16"}
	if err := one.driver.CreateNetwork(ctx, request(net1, data1)); err != nil {
		t.Fatal(err)
	}
	stranger := data2
	stranger.Aux = map[string]string{"nas": "10.43.0.8/16"}
	refused(t, two.driver.CreateNetwork(ctx, request(net2, stranger)), "nas=10.43.0.8", "fixed")
	stranger = data2
	stranger.Gateway = "10.43.0.254/16"
	refused(t, two.driver.CreateNetwork(ctx, request(net2, stranger)), "10.43.0.1", "on every host")
	if err := two.driver.CreateNetwork(ctx, request(net2, data2)); err != nil {
		t.Fatal(err)
	}
	fact := two.Local().Pools[pool2].Fact
	if fact.Aux["printer"] != netip.MustParseAddr("10.43.0.7") || !slices.Equal(fact.Dynamic, one.Local().Pools[pool1].Fact.Dynamic) {
		t.Errorf("the second host has %+v", fact)
	}
	if a, b := one.start(net1, pool1, ep1, "web"), two.start(net2, pool2, ep2, "db"); a == b {
		t.Errorf("both have %s", a)
	}
	if !maps.Equal(fact.Aux, one.Local().Pools[pool1].Fact.Aux) {
		t.Error("auxiliary addresses differ")
	}
}

// Between RequestPool and CreateNetwork another host may have taken the pool for another network.
func TestAPoolThatWasTakenMeanwhile(t *testing.T) {
	e := teststore.New(t)
	one, two := newRig(t, e, "one"), newRig(t, e, "two")
	_, data1 := one.pool("blue")
	_, data2 := two.pool("green")
	if data1.Pool != data2.Pool {
		t.Fatalf("pools %s and %s", data1.Pool, data2.Pool)
	}
	if err := one.driver.CreateNetwork(t.Context(), request(net1, data1)); err != nil {
		t.Fatal(err)
	}
	refused(t, two.driver.CreateNetwork(t.Context(), request(net2, data2)), "overlap", "blue")
	if len(two.Local().Networks) != 0 {
		t.Error("half done")
	}
}

func TestEtcdAwayAtCreateNetwork(t *testing.T) {
	e := teststore.New(t)
	r := newRig(t, e, "one")
	_, data := r.pool("blue")
	e.StopEtcd()
	ctx, cancel := context.WithTimeout(context.Background(), shortly)
	defer cancel()
	refused(t, r.driver.CreateNetwork(ctx, request(net1, data)), "network blue", "etcd", "127.0.0.1")
	if l := r.Local(); len(l.Networks) != 0 {
		t.Errorf("half done: %+v", l.Networks)
	}
}

// Docker has given up: it releases the pool and sends no DeleteNetwork.
func TestCreateNetworkThatDockerHasGivenUp(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	_, data := r.pool("blue")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.driver.CreateNetwork(ctx, request(net1, data)); err == nil || len(r.Local().Networks) != 0 {
		t.Errorf("got %v, %+v", err, r.Local().Networks)
	}
	var pool store.LocalPool
	for _, pool = range r.Local().Pools {
	}
	if err := r.ipam.ReleasePool(context.Background(), pool.ID); err != nil {
		t.Fatal(err)
	}
	r.empty()
}
