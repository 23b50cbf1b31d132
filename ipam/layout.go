package ipam

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshsec/meshsec/store"
)

// The limits of a network's layout, in bits of prefix length.
const (
	minPoolLen, maxPoolLen   = 8, 28
	minBlockLen, maxBlockLen = 24, 30
	// defaultBlockLen is the length of a block where the dynamic range has room for wantedBlocks of them; in a smaller
	// range blocks shrink, so that a pool of /24 still serves as many hosts (with blocks of /30) as one of /20.
	defaultBlockLen = 26
	wantedBlocks    = 32
)

// defaultDynamic is the pool without its first quarter.
func defaultDynamic(pool netip.Prefix) []netip.Prefix {
	second := netip.PrefixFrom(offset(pool.Addr(), 1<<(30-pool.Bits())), pool.Bits()+2)
	upper := netip.PrefixFrom(offset(pool.Addr(), 1<<(31-pool.Bits())), pool.Bits()+1)
	return []netip.Prefix{second, upper}
}

// blockLenFor is the length of a dynamic range's blocks where nobody chose one.
func blockLenFor(dynamic []netip.Prefix) int {
	size := 0
	for _, p := range dynamic {
		size += 1 << (32 - p.Bits())
	}
	bits := defaultBlockLen
	for bits < maxBlockLen && size>>(32-bits) < wantedBlocks {
		bits++
	}
	return bits
}

// checkBlockLen says why a network can't have blocks of this length.
func checkBlockLen(bits int, dynamic []netip.Prefix) error {
	if bits < minBlockLen || bits > maxBlockLen {
		return fmt.Errorf("%s must be a prefix length of %d to %d, not %d", OptionBlock, minBlockLen, maxBlockLen, bits)
	}
	for _, p := range dynamic {
		if p.Bits() > bits {
			return fmt.Errorf("a block of /%d does not fit into the dynamic range %v; %s can be %d to %d there",
				bits, p, OptionBlock, max(p.Bits(), minBlockLen), maxBlockLen)
		}
	}
	return nil
}

// static gives the ranges of the pool that no block is cut from, in ascending order.
func static(n store.Network) []netip.Prefix { return without(n.Pool, n.Dynamic) }

// without gives what is left of p when the ranges are taken out.
func without(p netip.Prefix, ranges []netip.Prefix) []netip.Prefix {
	overlap := false
	for _, r := range ranges {
		if r.Bits() <= p.Bits() && r.Contains(p.Addr()) {
			return nil
		}
		overlap = overlap || p.Overlaps(r)
	}
	if !overlap {
		return []netip.Prefix{p}
	}
	low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	high := netip.PrefixFrom(offset(p.Addr(), 1<<(31-p.Bits())), p.Bits()+1)
	return append(without(low, ranges), without(high, ranges)...)
}

// blockOf is the block that holds a dynamic address; false for one of the static range.
func blockOf(n store.Network, addr netip.Addr) (netip.Prefix, bool) {
	if !slices.ContainsFunc(n.Dynamic, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return netip.Prefix{}, false
	}
	block, err := addr.Prefix(n.BlockLen)
	return block, err == nil
}

// blocks are the network's blocks from the skip-th on, around the whole dynamic range once.
func blocks(n store.Network, skip uint32) iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		total := uint32(0)
		for _, p := range n.Dynamic {
			total += 1 << (n.BlockLen - p.Bits())
		}
		for i := range total {
			at := (skip%total + i) % total
			for _, p := range n.Dynamic {
				count := uint32(1) << (n.BlockLen - p.Bits())
				if at < count {
					if !yield(netip.PrefixFrom(offset(p.Addr(), at<<(32-n.BlockLen)), n.BlockLen)) {
						return
					}
					break
				}
				at -= count
			}
		}
	}
}

// reserved names what an address is if no container can ever have it; it is empty for all others.
func reserved(n store.Network, addr netip.Addr) string {
	switch addr {
	case n.Pool.Addr():
		return "the network address"
	case last(n.Pool):
		return "the broadcast address"
	case n.Gateway:
		return "the gateway"
	}
	for name, aux := range n.Aux {
		if aux == addr {
			return fmt.Sprintf("the auxiliary address %q", name)
		}
	}
	return ""
}

// allowed says which addresses of a network a container can have.
func allowed(n store.Network) string {
	return fmt.Sprintf("allowed are %v to %v but for the gateway %v and auxiliary addresses", n.Pool.Addr().Next(), last(n.Pool).Prev(), n.Gateway)
}

// list joins prefixes for a message.
func list(prefixes []netip.Prefix) string {
	words := make([]string, len(prefixes))
	for i, p := range prefixes {
		words[i] = p.String()
	}
	return strings.Join(words, ", ")
}

// within says that the whole of inner is in outer.
func within(inner, outer netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// last is the highest address of a prefix.
func last(p netip.Prefix) netip.Addr { return offset(p.Addr(), 1<<(32-p.Bits())-1) }

// offset is the IPv4 address n after addr.
func offset(addr netip.Addr, n uint32) netip.Addr {
	bytes := addr.As4()
	binary.BigEndian.PutUint32(bytes[:], binary.BigEndian.Uint32(bytes[:])+n)
	return netip.AddrFrom4(bytes)
}
