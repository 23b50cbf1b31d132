package link

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
)

// guardSet is the set of the pools in the host's table.
const guardSet = "pools"

// SetGuard makes the host's namespace drop, forwarded or sent by itself, everything from or to the pools (nftables table
// meshsec). A container that has lost its link to the mesh still has a default route through docker_gwbridge, and the
// host would send its packets on in the clear. The table stays when the agent ends. Pools of EnsureBridge that are not
// among these yet are kept.
func (r *Router) SetGuard(pools []netip.Prefix) error {
	r.links.Lock()
	defer r.links.Unlock()
	for name, b := range r.fresh {
		if r.isFresh(name) {
			pools = append(slices.Clip(pools), b.Pool)
		}
	}
	ranges, err := toRanges(pools)
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	r.guard.mu.Lock()
	defer r.guard.mu.Unlock()
	return r.setGuard(ranges)
}

// addGuard adds one pool to those that are dropped already, also by an agent before this one.
func (r *Router) addGuard(pool netip.Prefix) error {
	ranges, err := toRanges([]netip.Prefix{pool})
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	r.guard.mu.Lock()
	defer r.guard.mu.Unlock()
	have, err := r.guardRanges()
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	return r.setGuard(merge(append(have, ranges...)))
}

func (r *Router) setGuard(ranges []addrRange) error {
	err := r.guard.set(fmt.Sprint(ranges), func(c *nftables.Conn, t *nftables.Table) error {
		// The ID has to be unique within the transaction only; given here, the library keeps off its global counter.
		set := &nftables.Set{Table: t, Name: guardSet, ID: 1, KeyType: nftables.TypeIPAddr, Interval: true}
		var elements []nftables.SetElement
		for _, a := range ranges {
			elements = append(elements, nftables.SetElement{Key: a.from.AsSlice()},
				nftables.SetElement{Key: a.end.AsSlice(), IntervalEnd: true})
		}
		if err := addSet(c, set, elements); err != nil {
			return err
		}
		accept := nftables.ChainPolicyAccept
		for name, hook := range map[string]*nftables.ChainHook{"forward": nftables.ChainHookForward, "output": nftables.ChainHookOutput} {
			// Before anything that could rewrite an address (dstnat: -100) or accept for good.
			chain := c.AddChain(&nftables.Chain{Name: name, Table: t, Type: nftables.ChainTypeFilter, Hooknum: hook,
				Priority: nftables.ChainPriorityRaw, Policy: &accept})
			for _, offset := range []uint32{sourceOffset, destOffset} {
				c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: rule{}.ipv4().inSet(offset, set).drop()})
			}
		}
		return nil
	}, guardSet)
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	return nil
}

// addrRange is a range of IPv4 addresses, from included, end not.
type addrRange struct{ from, end netip.Addr }

// guardRanges reads the set back; nothing if there is no table.
func (r *Router) guardRanges() ([]addrRange, error) {
	var starts, ends []netip.Addr
	err := r.guard.elements(guardSet, func() { starts, ends = nil, nil }, func(key []byte, end bool) {
		addr, ok := netip.AddrFromSlice(key)
		switch {
		case !ok:
		case end:
			ends = append(ends, addr)
		default:
			starts = append(starts, addr)
		}
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(starts, netip.Addr.Compare)
	slices.SortFunc(ends, netip.Addr.Compare)
	// Ranges do not overlap, so the n-th start belongs to the n-th end.
	var out []addrRange
	for i := range min(len(starts), len(ends)) {
		out = append(out, addrRange{starts[i], ends[i]})
	}
	return out, nil
}

// toRanges turns prefixes into the fewest ranges, sorted.
func toRanges(pools []netip.Prefix) ([]addrRange, error) {
	var out []addrRange
	for _, p := range pools {
		p = p.Masked()
		if !p.Addr().Is4() || p.Bits() == 0 {
			return nil, fmt.Errorf("pool %s: not an IPv4 pool", p)
		}
		b := p.Addr().As4()
		end := uint64(binary.BigEndian.Uint32(b[:])) + 1<<(32-p.Bits())
		if end > 0xffffffff {
			return nil, fmt.Errorf("pool %s: reserved addresses", p)
		}
		binary.BigEndian.PutUint32(b[:], uint32(end))
		out = append(out, addrRange{p.Addr(), netip.AddrFrom4(b)})
	}
	return merge(out), nil
}

// merge joins ranges that overlap or touch: an interval set takes neither.
func merge(in []addrRange) []addrRange {
	slices.SortFunc(in, func(a, b addrRange) int { return cmp.Or(a.from.Compare(b.from), a.end.Compare(b.end)) })
	var out []addrRange
	for _, a := range in {
		if n := len(out); n > 0 && a.from.Compare(out[n-1].end) <= 0 {
			if out[n-1].end.Less(a.end) {
				out[n-1].end = a.end
			}
			continue
		}
		out = append(out, a)
	}
	return out
}
