package mesh

import (
	"net/netip"
	"slices"

	"github.com/meshsec/meshsec/store"
)

// claims answers who may use an address. This host's claims are those of its checkpoint, which outranks etcd about them;
// but where etcd has given the same block or address to another host, it is that host's for all others, so for this one.
type claims struct {
	statics map[store.AddrKey]string
	blocks  map[store.BlockKey]string
	// lengths are the prefix lengths of a network's blocks, longest first: nearly always one.
	lengths map[string][]int
	// used are the networks in whose pool any host has a claim, by name.
	used map[string]bool
}

func newClaims(snap *store.Snapshot, local *store.Local, self string) claims {
	c := claims{
		statics: make(map[store.AddrKey]string, len(snap.Statics)),
		blocks:  make(map[store.BlockKey]string, len(snap.Blocks)),
		lengths: map[string][]int{},
		used:    map[string]bool{},
	}
	for k := range local.Statics {
		c.statics[k] = self
	}
	for k := range local.Blocks {
		c.blocks[k] = self
	}
	for k, v := range snap.Statics {
		if v.Host != self {
			c.statics[k] = v.Host
		}
	}
	for k, v := range snap.Blocks {
		if v.Host != self {
			c.blocks[k] = v.Host
		}
	}
	use := func(network string, addr netip.Addr) {
		if !c.used[network] && snap.Networks[network].Pool.Contains(addr) {
			c.used[network] = true
		}
	}
	for k := range c.statics {
		use(k.Network, k.Addr)
	}
	for k := range c.blocks {
		use(k.Network, k.Prefix.Addr())
		if !slices.Contains(c.lengths[k.Network], k.Prefix.Bits()) {
			c.lengths[k.Network] = append(c.lengths[k.Network], k.Prefix.Bits())
		}
	}
	for _, l := range c.lengths {
		slices.Sort(l)
		slices.Reverse(l)
	}
	return c
}

// owner is the host that has a claim on the address itself, else on the longest block that holds it; "" if nobody has.
// So an address has one owner whatever claims there are.
func (c claims) owner(network string, addr netip.Addr) string {
	if host, ok := c.statics[store.AddrKey{Network: network, Addr: addr}]; ok {
		return host
	}
	for _, bits := range c.lengths[network] {
		prefix, err := addr.Prefix(bits)
		if err != nil {
			continue
		}
		if host, ok := c.blocks[store.BlockKey{Network: network, Prefix: prefix}]; ok {
			return host
		}
	}
	return ""
}
