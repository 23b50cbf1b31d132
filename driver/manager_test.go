package driver

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/ipam"
	"github.com/meshsec/meshsec/store"
)

const swarmNet2 = "n2ejjtie4v4zi9zbc0134ozrn"

// leader is a host whose dockerd leads a Swarm and has asked for the pool of a network.
func leader(t *testing.T, e *teststore.Environment, name string) (*rig, *dockerd) {
	t.Helper()
	r := newRig(t, e, name)
	docker, client := startEngine(t)
	r.docker = client
	r.open()
	r.ipam = ipam.New(r.Store, r.Checkpoint, ipam.Options{Managed: true, Now: r.Now})
	return r, docker
}

func (r *rig) managed(subnet string) (id string, data PoolData) {
	r.t.Helper()
	reply, err := r.ipam.RequestPool(r.t.Context(), ipam.PoolRequest{AddressSpace: ipam.GlobalSpace, Pool: subnet})
	if err != nil {
		r.t.Fatal(err)
	}
	gateway, err := r.ipam.RequestAddress(r.t.Context(), ipam.AddressRequest{PoolID: reply.ID, Options: map[string]string{"RequestAddressType": "com.docker.network.gateway"}})
	if err != nil {
		r.t.Fatal(err)
	}
	return reply.ID, PoolData{Pool: reply.Pool.String(), Gateway: gateway.String()} // Docker names no address space here
}

func TestAllocateAndFreeANetwork(t *testing.T) {
	e := teststore.New(t)
	r, _ := leader(t, e, "one")
	r.run()
	id, data := r.managed("10.60.0.0/24")
	allocate := func(docker string, data PoolData, options map[string]string) error {
		return r.driver.AllocateNetwork(t.Context(), docker, []PoolData{data}, options)
	}
	refused(t, allocate(swarmNet, data, map[string]string{"meshsec.wrong": "1"}), "meshsec.wrong")
	refused(t, allocate(swarmNet, PoolData{Pool: "10.61.0.0/24", Gateway: "10.61.0.1/24"}, nil), "--ipam-driver")
	refused(t, r.driver.AllocateNetwork(t.Context(), swarmNet, nil, nil), "one pool")
	for range 2 {
		if err := allocate(swarmNet, data, map[string]string{"meshsec.sticky": "off"}); err != nil {
			t.Fatal(err)
		}
	}
	const name = "10.60.0.0-24"
	r.Wait("the fact", func() bool { return r.known(name) })
	if fact := r.Store.Snapshot().Networks[name]; len(fact.Dynamic) != 0 {
		t.Errorf("hosts have blocks: %v", fact.Dynamic)
	}
	refused(t, allocate(swarmNet2, data, nil), "already the Swarm's", swarmNet[:12])

	// Another manager becomes the leader.
	other, _ := leader(t, e, "two")
	other.Wait("the fact", func() bool { return other.known(name) })
	_, data = other.managed("10.60.0.0/24")
	if err := other.driver.AllocateNetwork(t.Context(), swarmNet, []PoolData{data}, nil); err != nil {
		t.Fatal(err)
	}

	for _, err := range []error{r.driver.FreeNetwork(t.Context(), swarmNet), r.driver.FreeNetwork(t.Context(), swarmNet), r.ipam.ReleasePool(t.Context(), id)} {
		if err != nil {
			t.Error(err)
		}
	}
	r.Wait("the checkpoint to forget it", func() bool { return len(r.Local().Managed)+len(r.Local().Unused) == 0 })
}

// What the Swarm forgets to give back: an address that neither it nor a node has, and a network that was removed by another leader.
func TestWhatASwarmForgotIsCollected(t *testing.T) {
	r, docker := leader(t, teststore.New(t), "one")
	id, data := r.managed("10.60.0.0/24")
	if err := r.driver.AllocateNetwork(t.Context(), swarmNet, []PoolData{data}, nil); err != nil {
		t.Fatal(err)
	}
	var addrs []netip.Addr
	for range 4 { // of a task, of a service, of a container that is no task, of nobody
		got, err := r.ipam.RequestAddress(t.Context(), ipam.AddressRequest{PoolID: id})
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, got.Addr())
	}
	key := store.AddrKey{Network: "10.60.0.0-24", Addr: addrs[2]}
	if err := r.Checkpoint.Update(func(l *store.Local) error {
		l.Statics[key] = store.Claim{V: store.Version, Host: r.ID, Since: r.Now()}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	r.Wait("the claim", func() bool { return r.Store.Snapshot().Statics[key].Host == r.ID })
	docker.setContainer("/info", `{"Swarm":{"LocalNodeState":"active","ControlAvailable":true}}`)
	docker.setContainer("/networks", fmt.Sprintf(`[{"Id":%q,"Name":"mesh"}]`, swarmNet))
	docker.setContainer("/services", fmt.Sprintf(`[{"Endpoint":{"VirtualIPs":[{"NetworkID":%q,"Addr":"%v/24"}]}},{}]`, swarmNet, addrs[1]))
	docker.setContainer("/tasks", fmt.Sprintf(`[{"Status":{"State":"preparing"},"NetworksAttachments":[{"Network":{"ID":%q},"Addresses":["%v/24"]}]},
		{"Status":{"State":"failed"},"NetworksAttachments":[{"Network":{"ID":%[1]q},"Addresses":["%[3]v/24"]}]}]`, swarmNet, addrs[0], addrs[3]))
	look := func(after time.Duration, pools, allotted int) {
		t.Helper()
		if err := r.look(after); err != nil || len(r.Local().Managed) != pools || len(r.Local().Allotted) != allotted {
			t.Fatalf("%v, %v, %v", err, r.Local().Managed, r.Local().Allotted)
		}
	}
	look(young-time.Second, 1, 4)
	look(time.Second, 1, 4)
	look(forgotten, 1, 3)
	if _, left := r.Local().Allotted[store.AddrKey{Network: key.Network, Addr: addrs[3]}]; left {
		t.Error("it is another one")
	}
	docker.fail(500) // no answer is no reason
	if err := r.look(forgotten); err == nil {
		t.Error("no error")
	}
	docker.fail(0)
	docker.setContainer("/networks", `[]`)
	look(time.Second, 1, 3)
	look(forgotten, 1, 3)
	if m := r.Local().Managed[id]; m.DockerID != "" {
		t.Errorf("%+v", m)
	}
	if err := r.ipam.ReleasePool(t.Context(), id); err != nil || len(r.Local().Managed)+len(r.Local().Allotted) != 0 {
		t.Error(err, r.Local().Managed, r.Local().Allotted)
	}
}

// A host that is no manager any more has nothing to manage.
func TestAManagerThatWasDemoted(t *testing.T) {
	r, docker := leader(t, teststore.New(t), "one")
	id, data := r.managed("10.60.0.0/24")
	if err := r.driver.AllocateNetwork(t.Context(), swarmNet, []PoolData{data}, nil); err != nil {
		t.Fatal(err)
	}
	docker.setContainer("/info", `{"Swarm":{"LocalNodeState":"active","ControlAvailable":false}}`)
	for _, after := range []time.Duration{young, forgotten} {
		if err := r.look(after); err != nil {
			t.Fatal(err)
		}
	}
	if m := r.Local().Managed[id]; m.DockerID != "" {
		t.Errorf("%+v", m)
	}
}
