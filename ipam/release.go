package ipam

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/meshsec/meshsec/store"
)

// ReleaseAddress gives an address back; one that is not leased is no error. A dynamic one rests, a static one's claim ends.
//
// Docker sends it after DeleteEndpoint. If there still is an endpoint without a sandbox, that call was lost, or Docker gave up
// waiting for CreateEndpoint, and it is forgotten here. One in a sandbox keeps its address until the driver hears from
// Docker's list that it has gone.
func (i *IPAM) ReleaseAddress(_ context.Context, poolID, address string) error {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return fmt.Errorf("address %q is no IP address", address)
	}
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
		free(l, k, lease, i.o.Now())
		return nil
	})
}

// free ends a lease. That of a gateway or an auxiliary address stays as long as a Docker network uses it.
func free(l *store.Local, k store.AddrKey, lease store.Lease, now time.Time) {
	_, held := held(l)[k]
	switch {
	case lease.Kind != store.LeaseEndpoint:
		if errHere(l, k.Network) == nil {
			delete(l.Leases, k)
		}
	case lease.Static && !held:
		delete(l.Leases, k)
		delete(l.Statics, k)
	case lease.Freed.IsZero():
		lease.Freed = now
		l.Leases[k] = lease
	}
}
