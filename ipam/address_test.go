package ipam

import (
	"net/netip"
	"testing"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

func TestCase8Gateway(t *testing.T) {
	e := teststore.New(t)
	r := newRig(t, e, "one")
	id := r.mustPool("10.50.0.0/16", "").ID
	if got, err := r.address(id, "", addressType, gatewayType); err != nil || got != p("10.50.0.1/16") {
		t.Fatalf("got %v, %v", got, err)
	}
	for range 2 { // another one instead, twice
		if got, err := r.address(id, "10.50.0.254", addressType, gatewayType); err != nil || got != p("10.50.0.254/16") {
			t.Fatalf("got %v, %v", got, err)
		}
	}
	for addr, word := range map[string]string{"10.51.0.1": "outside", "10.50.0.0": "network address", "10.50.255.255": "broadcast", "fd00::1": "not IPv4", "x": "no IP address"} {
		_, err := r.address(id, addr, addressType, gatewayType)
		refused(t, err, word)
	}
	if n := len(r.Local().Leases); n != 1 {
		t.Errorf("%d leases: %v", n, r.Local().Leases)
	}
	r.confirm(id)

	two := newRig(t, e, "two")
	two.Wait("the network", func() bool { return len(two.Store.Snapshot().Networks) == 1 })
	id = two.mustPool("10.50.0.0/16", "").ID
	_, err := two.address(id, "10.50.0.1", addressType, gatewayType)
	refused(t, err, "10.50.0.254", "on every host", "--gateway 10.50.0.1")
	for _, addr := range []string{"", "10.50.0.254"} {
		if got := two.mustAddress(id, addr, addressType, gatewayType); got != a("10.50.0.254") {
			t.Errorf("got %v", got)
		}
	}
}

func TestCase8AuxiliaryAddresses(t *testing.T) {
	e := teststore.New(t)
	r := newRig(t, e, "one")
	id := r.mustPool("10.50.0.0/24", "").ID
	r.mustAddress(id, "", addressType, gatewayType)
	for range 2 {
		r.mustAddress(id, "10.50.0.7") // options null, as 20.10 sends it
	}
	r.mustAddress(id, "10.50.0.100")
	for addr, word := range map[string]string{"10.50.0.1": "gateway", "10.50.0.255": "broadcast", "10.50.1.1": "outside"} {
		_, err := r.address(id, addr)
		refused(t, err, "--aux-address", word)
	}
	_, err := r.address(id, "10.50.0.7", addressType, gatewayType)
	refused(t, err, "auxiliary")
	_, err = r.address(id, "")
	refused(t, err, "not been created")
	r.update(func(l *store.Local) { // the names come with CreateNetwork
		pool := l.Pools[id]
		pool.Fact.Aux = map[string]netip.Addr{"printer": a("10.50.0.7"), "nas": a("10.50.0.100")}
		l.Pools[id] = pool
	})
	r.confirm(id)
	_, err = r.address(id, "10.50.0.7")
	refused(t, err, `auxiliary address "printer"`)
	for range 100 {
		if got := r.mustAddress(id, ""); got == a("10.50.0.7") || got == a("10.50.0.100") {
			t.Fatalf("a container got %v", got)
		}
	}

	two := newRig(t, e, "two")
	two.Wait("the network", func() bool { return len(two.Store.Snapshot().Networks) == 1 })
	id = two.mustPool("10.50.0.0/24", "").ID
	two.mustAddress(id, "10.50.0.7")
	_, err = two.address(id, "10.50.0.8")
	refused(t, err, "fixed", "10.50.0.7", "printer")
}

func TestCase8ExplicitAddresses(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	id := r.network("10.50.0.0/16", "10.50.64.0/18")
	for _, addr := range []string{"10.50.0.9", "10.50.64.9", "10.50.200.1", "10.50.255.254"} { // static, dynamic, outside --ip-range, last
		if got, err := r.address(id, addr); err != nil || got != netip.PrefixFrom(a(addr), 16) {
			t.Fatalf("%s: got %v, %v", addr, got, err)
		}
		if _, err := r.address(id, addr); err != nil {
			t.Errorf("%s: the answer was lost, and now %v", addr, err)
		}
		r.endpoint(id, "web", a(addr))
		_, err := r.address(id, addr)
		refused(t, err, addr, "taken", "container web")
		r.gone(a(addr))
		r.release(id, a(addr))
		if _, err := r.address(id, addr); err != nil {
			t.Errorf("%s: not to be had after its release: %v", addr, err)
		}
	}
	for addr, word := range map[string]string{"10.51.0.9": "outside the pool 10.50.0.0/16", "10.50.0.0": "network address",
		"10.50.255.255": "broadcast address", "10.50.0.1": "gateway", "fd00::9": "not IPv4", "10.50": "no IP address"} {
		_, err := r.address(id, addr)
		refused(t, err, addr, word)
		if word == "gateway" {
			refused(t, err, "allowed are 10.50.0.1 to 10.50.255.254")
		}
	}
	_, err := r.address("MeshsecLocal/x/10.0.0.0/8", "")
	refused(t, err, "not known on this host")
	if l := r.Local(); len(l.Statics) != 3 || len(l.Blocks) != 1 {
		t.Errorf("claims: %v, %v", l.Statics, l.Blocks)
	}
}

func TestExplicitAddressesOfOtherHosts(t *testing.T) {
	e := teststore.New(t)
	one, two := newRig(t, e, "one"), newRig(t, e, "two")
	id := one.network("", "")
	two.Wait("the network", func() bool { return len(two.Store.Snapshot().Networks) == 1 })
	two.network("", "")
	for _, addr := range []string{"10.42.0.9", "10.42.77.9"} {
		one.mustAddress(id, addr)
	}
	_, err := two.address(id, "10.42.0.9") // not yet seen: the transaction says it
	refused(t, err, "10.42.0.9", "taken")
	_, err = two.address(id, "10.42.77.10")
	refused(t, err, "block 10.42.77.0/26 of host one", "10.42.0.0/18")
	for _, addr := range []string{"10.42.0.9", "10.42.77.9"} {
		one.endpoint(id, "web", a(addr))
	}
	two.sees(one)
	for _, addr := range []string{"10.42.0.9", "10.42.77.9"} {
		_, err = two.address(id, addr)
		refused(t, err, addr, "taken by container web on host one")
	}
	// A static address does not rest: as soon as it is free here it can be had there.
	one.gone(a("10.42.0.9"))
	one.release(id, a("10.42.0.9"))
	two.Wait("the address", func() bool { _, err := two.address(id, "10.42.0.9"); return err == nil })
	_, err = one.address(id, "10.42.0.9")
	refused(t, err, "10.42.0.9", "taken", "two")
}
