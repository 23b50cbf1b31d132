package ipam

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/meshsec/meshsec/store"
)

// ReleaseAddress gives an address back; one that is not leased is no error. A dynamic one rests, a static one's claim ends, without
// etcd only when that is back: a dockerd that starts gives back all that its containers had, and then asks for it again.
//
// Docker sends it after DeleteEndpoint. If there still is an endpoint without a sandbox, that call was lost, or Docker gave up
// waiting for CreateEndpoint, and it is forgotten here. One in a sandbox keeps its address until the driver hears from
// Docker's list that it has gone.
func (i *IPAM) ReleaseAddress(_ context.Context, poolID, address string) error {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return fmt.Errorf("address %q is no IP address", address)
	}
	healthy, _ := i.st.Healthy()
	return i.cp.Update(func(l *store.Local) error {
		if m, ok := l.Managed[poolID]; ok {
			delete(l.Allotted, store.AddrKey{Network: m.Network, Addr: addr.Unmap()})
			return nil
		}
		pool, ok := l.Pools[poolID]
		if !ok {
			return nil
		}
		k := key(pool, addr.Unmap())
		lease, ok := l.Leases[k]
		if !ok {
			return nil
		}
		if e, ok := held(l)[k]; ok && !e.Joined {
			delete(l.Endpoints, e.ID)
		}
		free(l, k, lease, i.o.Now(), healthy)
		return nil
	})
}

// free ends a lease. That of a gateway or an auxiliary address stays as long as a Docker network uses it, a claim until etcd can be told.
func free(l *store.Local, k store.AddrKey, lease store.Lease, now time.Time, healthy bool) {
	_, held := held(l)[k]
	switch {
	case lease.Kind != store.LeaseEndpoint:
		if errHere(l, k.Network) == nil {
			delete(l.Leases, k)
		}
	case lease.Static && !held && healthy:
		delete(l.Leases, k)
		delete(l.Statics, k)
	case lease.Freed.IsZero():
		lease.Freed = now
		l.Leases[k] = lease
	}
}
