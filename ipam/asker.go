package ipam

import (
	"context"

	"github.com/meshsec/meshsec/store"
)

// asker is the container that an address is for, as far as it is known.
type asker struct {
	name, id string
	sticky   bool // it gets its last address back
}

// had says that the lease was the container's: its own, or that of one of the same name, in whose place it has come.
func (a asker) had(lease store.Lease) bool {
	return a.sticky && (a.name != "" && lease.Name == a.name || a.id != "" && lease.Container == a.id)
}

// former completes who asks, where that makes a difference: where an address waits for its container.
func (i *IPAM) former(ctx context.Context, pool store.LocalPool, who asker) asker {
	local := i.cp.Local()
	for _, n := range local.Networks {
		if n.PoolID == pool.ID && n.Forgetful {
			return who
		}
	}
	who.sticky = true
	if who.name != "" || i.o.Starting == nil {
		return who
	}
	var resting []store.Lease
	holders := held(local)
	for k, lease := range local.Leases {
		if _, taken := holders[k]; !taken && k.Network == pool.Network && !lease.Freed.IsZero() && lease.Name != "" {
			resting = append(resting, lease)
		}
	}
	if len(resting) > 0 {
		who.id, who.name = i.o.Starting(ctx, resting)
	}
	return who
}
