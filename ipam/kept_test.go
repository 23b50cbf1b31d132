package ipam

import (
	"testing"
	"time"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

// rebooted is a host with a container that has the address, after a reboot without etcd: dockerd has given the address back.
func rebooted(t *testing.T, e *teststore.Environment, addr string) (r *rig, id string, wire *teststore.Wire) {
	t.Helper()
	host, wire := e.WiredHost("one")
	r = &rig{Host: host, t: t, clock: &clock{now: time.Now()}}
	r.open()
	id = r.network("", "")
	had := r.mustAddress(id, addr)
	r.endpoint(id, "web", had)
	wire.Cut()
	r.restart()
	r.gone(had)
	r.release(id, had)
	return r, id, wire
}

func (r *rig) healthy() bool { ok, _ := r.Store.Healthy(); return ok }

func (r *rig) sweep() {
	r.t.Helper()
	if err := r.ipam.sweep(); err != nil {
		r.t.Fatal(err)
	}
}

// A dockerd that starts gives back what its containers had and asks for it again, which needs no etcd: it knows of neither.
func TestAStaticAddressComesBackWithoutEtcd(t *testing.T) {
	const addr = "10.42.0.9"
	e := teststore.New(t)
	r, id, wire := rebooted(t, e, addr)
	r.sweep()
	r.mustAddress(id, addr) // whose answer is lost
	got := r.mustAddress(id, addr)
	r.endpoint(id, "web", got)
	_, err := r.address(id, addr)
	refused(t, err, "container web")
	_, err = r.address(id, "10.42.0.10")
	refused(t, err, "etcd")
	wire.Heal()
	r.Wait("etcd", r.healthy)
	r.sweep()
	other := newRig(t, e, "two")
	_, err = other.address(other.network("", ""), addr)
	refused(t, err, addr, "one")
	if l := r.Local(); len(l.Statics) != 1 || !l.Leases[key(l.Pools[id], got)].Freed.IsZero() {
		t.Errorf("%v, %v", l.Statics, l.Leases)
	}
}

// Nobody asks for it again: it is given up when etcd is back, however long that takes.
func TestAStaticAddressFreedWithoutEtcdIsGivenUpWhenItIsBack(t *testing.T) {
	const addr = "10.42.0.9"
	e := teststore.New(t)
	r, id, wire := rebooted(t, e, addr)
	r.clock.Advance(memory)
	r.sweep()
	if l := r.Local(); len(l.Statics) != 1 || len(l.Leases) != 2 {
		t.Fatalf("given up without etcd: %v, %v", l.Statics, l.Leases)
	}
	wire.Heal()
	r.Wait("etcd", r.healthy)
	r.sweep()
	if l := r.Local(); len(l.Statics) != 0 || len(l.Leases) != 1 {
		t.Errorf("left: %v, %v", l.Statics, l.Leases)
	}
	other := newRig(t, e, "two")
	otherID := other.network("", "")
	r.Wait("the release", func() bool { _, err := other.address(otherID, addr); return err == nil })
	_, err := r.address(id, addr)
	refused(t, err, addr, "two")
}

// What etcd has given to another host is not this one's any more, whatever its disk says.
func TestAStaticAddressOfAnotherHostDoesNotComeBack(t *testing.T) {
	e := teststore.New(t)
	r, other := newRig(t, e, "one"), newRig(t, e, "two")
	id, otherID := r.network("", ""), other.network("", "")
	addr := other.mustAddress(otherID, "10.42.0.9")
	other.endpoint(otherID, "web", addr)
	r.sees(other)
	r.update(func(l *store.Local) {
		k := key(l.Pools[id], addr)
		l.Statics[k] = r.ipam.claim()
		l.Leases[k] = store.Lease{Kind: store.LeaseEndpoint, PoolID: id, Static: true, Since: r.clock.Now(), Freed: r.clock.Now()}
	})
	_, err := r.address(id, addr.String())
	refused(t, err, addr.String(), "web", "two")
}
