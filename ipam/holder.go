package ipam

import (
	"errors"
	"fmt"

	"github.com/meshsec/meshsec/store"
)

// held are the addresses of this host's endpoints.
func held(l *store.Local) map[store.AddrKey]store.LocalEndpoint {
	held := make(map[store.AddrKey]store.LocalEndpoint, len(l.Endpoints))
	for _, e := range l.Endpoints {
		held[store.AddrKey{Network: e.Network, Addr: e.Addr}] = e
	}
	return held
}

// holds says whether one of the addresses is in the block.
func holds[V any](addrs map[store.AddrKey]V, block store.BlockKey) bool {
	for key := range addrs {
		if key.Network == block.Network && block.Prefix.Contains(key.Addr) {
			return true
		}
	}
	return false
}

// errHeld names the endpoint of this host that has the address.
func errHeld(e store.LocalEndpoint) error {
	return fmt.Errorf("address %v %w by %s on this host", e.Addr, errTaken, holder(e.Endpoint))
}

var errTaken = errors.New("is taken")

// holder names an endpoint by its container where that is known.
func holder(e store.Endpoint) string {
	if e.Name != "" {
		return "container " + e.Name
	}
	return fmt.Sprintf("endpoint %.12s", e.ID)
}
