package store

import "maps"

// DropNetwork takes everything out of l that this host holds in a network: pools, addresses, claims and endpoints. The
// Docker networks themselves are the caller's. Only inside Checkpoint.Update.
func (l *Local) DropNetwork(network string) {
	maps.DeleteFunc(l.Pools, func(_ string, p LocalPool) bool { return p.Network == network })
	maps.DeleteFunc(l.Leases, func(k AddrKey, _ Lease) bool { return k.Network == network })
	maps.DeleteFunc(l.Statics, func(k AddrKey, _ Claim) bool { return k.Network == network })
	maps.DeleteFunc(l.Blocks, func(k BlockKey, _ Claim) bool { return k.Network == network })
	maps.DeleteFunc(l.Endpoints, func(_ string, e LocalEndpoint) bool { return e.Network == network })
}
