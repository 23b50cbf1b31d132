package ipam

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/meshsec/meshsec/store"
)

// RequestAddress hands out a network's gateway, an auxiliary address, or an address for an endpoint. The lease is on disk
// when it returns. The reply has the pool's prefix length.
//
// 20.10 sends no options but for a gateway, so an address that is asked for before the network was created is an
// auxiliary one: dockerd creates endpoints only afterwards.
func (i *IPAM) RequestAddress(ctx context.Context, req AddressRequest) (netip.Prefix, error) {
	if err := i.st.Removed(); err != nil {
		return netip.Prefix{}, err
	}
	local := i.cp.Local()
	pool, here := local.Pools[req.PoolID]
	m, managed := local.Managed[req.PoolID]
	if !here && !managed {
		return netip.Prefix{}, errNoPool(req.PoolID)
	}
	var want netip.Addr
	if req.Address != "" {
		var err error
		if want, err = netip.ParseAddr(req.Address); err != nil {
			return netip.Prefix{}, fmt.Errorf("address %q is no IP address such as 10.42.0.5", req.Address)
		}
		if want = want.Unmap(); !want.Is4() {
			return netip.Prefix{}, fmt.Errorf("address %s is not IPv4, which is all that networks of meshsec carry", req.Address)
		}
	}
	if managed {
		addr, err := i.allot(m, want, req.Options)
		return netip.PrefixFrom(addr, m.Pool.Bits()), err
	}
	if err := i.st.Twin(); err != nil && !i.replayed(pool, want, req.Options) {
		return netip.Prefix{}, err
	}
	addr, err := i.request(ctx, pool, want, req.Options)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(addr, pool.Pool.Bits()), nil
}

func (i *IPAM) request(ctx context.Context, pool store.LocalPool, want netip.Addr, options map[string]string) (netip.Addr, error) {
	who := asker{name: options[endpointName]}
	switch {
	case options[addressType] == gatewayType:
		return i.gateway(pool, want)
	case !pool.Confirmed && want.IsValid():
		return want, i.aux(pool, want)
	case !pool.Confirmed:
		return want, fmt.Errorf("network %s has not been created yet on this host", pool.Network)
	case want.IsValid():
		return want, i.explicit(ctx, pool, want, who)
	}
	return i.dynamic(ctx, pool, i.former(ctx, pool, who))
}

// gateway leases the address that the router's bridge has on every host.
func (i *IPAM) gateway(pool store.LocalPool, want netip.Addr) (netip.Addr, error) {
	_, exists := i.st.Snapshot().Networks[pool.Network]
	err := i.cp.Update(func(l *store.Local) error {
		p, ok := l.Pools[pool.ID]
		if !ok {
			return errNoPool(pool.ID)
		}
		if !want.IsValid() {
			want = p.Fact.Gateway
		}
		if want != p.Fact.Gateway {
			if exists || p.Confirmed {
				return fmt.Errorf("network %s has the gateway %v on every host; leave out --gateway %v", p.Network, p.Fact.Gateway, want)
			}
			if err := usable(p.Fact, want, "--gateway"); err != nil {
				return err
			}
			if l.Leases[key(p, want)].Kind == store.LeaseAux {
				return fmt.Errorf("--gateway %v is an auxiliary address", want)
			}
			delete(l.Leases, key(p, p.Fact.Gateway))
			p.Fact.Gateway = want
			l.Pools[p.ID] = p
		}
		l.Leases[key(p, want)] = store.Lease{Kind: store.LeaseGateway, PoolID: p.ID, Since: i.o.Now()}
		return nil
	})
	return want, err
}

// aux leases an address that no container will get. For a network that exists it must be one of those in its fact, since
// containers of other hosts may have all others.
func (i *IPAM) aux(pool store.LocalPool, want netip.Addr) error {
	fact, exists := i.st.Snapshot().Networks[pool.Network]
	return i.cp.Update(func(l *store.Local) error {
		p, ok := l.Pools[pool.ID]
		if !ok {
			return errNoPool(pool.ID)
		}
		if want == p.Fact.Gateway {
			return fmt.Errorf("--aux-address %v is the gateway of network %s", want, p.Network)
		}
		if err := usable(p.Fact, want, "--aux-address"); err != nil {
			return err
		}
		if exists && !isAux(fact, want) {
			return fmt.Errorf("--aux-address %v is none of network %s, which exists: its auxiliary addresses are fixed, they are %v", want, p.Network, fact.Aux)
		}
		l.Leases[key(p, want)] = store.Lease{Kind: store.LeaseAux, PoolID: p.ID, Since: i.o.Now()}
		return nil
	})
}

func isAux(n store.Network, addr netip.Addr) bool {
	for _, aux := range n.Aux {
		if aux == addr {
			return true
		}
	}
	return false
}

// usable refuses what can be neither gateway nor auxiliary address.
func usable(n store.Network, addr netip.Addr, flag string) error {
	if !n.Pool.Contains(addr) {
		return fmt.Errorf("%s %v is outside the pool %v of network %s", flag, addr, n.Pool, n.Name)
	}
	if addr == n.Pool.Addr() || addr == last(n.Pool) {
		return fmt.Errorf("%s %v is %s of %v; allowed are %v to %v", flag, addr, reserved(n, addr), n.Pool, n.Pool.Addr().Next(), last(n.Pool).Prev())
	}
	return nil
}

func key(p store.LocalPool, addr netip.Addr) store.AddrKey {
	return store.AddrKey{Network: p.Network, Addr: addr}
}

// replayed says whether a request asks for nothing new: for the gateway, or for an address that is handed out already.
func (i *IPAM) replayed(pool store.LocalPool, want netip.Addr, options map[string]string) bool {
	lease, held := i.cp.Local().Leases[store.AddrKey{Network: pool.Network, Addr: want}]
	return options[addressType] == gatewayType || held && lease.Freed.IsZero()
}
