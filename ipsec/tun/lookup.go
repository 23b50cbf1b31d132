package tun

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/meshsec/meshsec/ipsec"
)

// routes finds the peer of an inner address: longest prefix first. Nearly all prefixes are single addresses. Immutable.
type routes struct {
	lengths []int // in use, longest first
	byLen   [33]*ordinals
	broken  bool // a prefix was left out
}

// ordinals are those of peers by the number of a prefix, cut into maps by its last byte: a change copies only those that it touches.
type ordinals [256]map[uint32]int32

// find gives the ordinal of the peer that addr is reached through, or nobody.
func (r *routes) find(addr uint32) int {
	for _, n := range r.lengths {
		key := addr & mask(n)
		if i, ok := r.byLen[n][byte(key)][key]; ok {
			return int(i)
		}
	}
	return nobody
}

func mask(length int) uint32 { return bits.Reverse32(uint32(1<<length - 1)) }

// newRoutes also returns an error for each prefix that is not IPv4 or that an earlier peer has.
func newRoutes(peers []ipsec.Peer) (*routes, []error) {
	b := newRoutesBuilder(&routes{})
	var errs []error
	for i, p := range peers {
		for _, prefix := range p.Prefixes {
			switch other, err := b.add(prefix, int32(i)); {
			case errors.Is(err, errTaken):
				errs = append(errs, fmt.Errorf("peer %s: prefix %s belongs to peer %s", p.Name, prefix, peers[other].Name))
			case err != nil:
				errs = append(errs, fmt.Errorf("peer %s: prefix %s %w", p.Name, prefix, err))
			}
		}
	}
	b.to.broken = len(errs) > 0
	return b.to, errs
}

// next gives the routes after r, which are those of have, by looking only at prefixes that have come or gone. nil: they must be made anew.
func (r *routes) next(have []peer, want []ipsec.Peer) *routes {
	if r.broken || !slices.EqualFunc(have, want, func(h peer, w ipsec.Peer) bool { return h.name == w.Name }) {
		return nil
	}
	var b *routesBuilder
	gained := map[int][]netip.Prefix{}
	for i := range want {
		if ipsec.SamePrefixes(have[i].prefixes, want[i].Prefixes) {
			continue
		}
		if b == nil {
			b = newRoutesBuilder(r)
		}
		var lost []netip.Prefix
		lost, gained[i] = ipsec.DiffPrefixes(have[i].prefixes, want[i].Prefixes)
		for _, prefix := range lost {
			b.remove(prefix)
		}
	}
	if b == nil {
		return r
	}
	for i, prefixes := range gained {
		for _, prefix := range prefixes {
			if _, err := b.add(prefix, int32(i)); err != nil {
				return nil
			}
		}
	}
	return b.to
}

var (
	errNotIPv4 = errors.New("is not IPv4")
	errTaken   = errors.New("belongs to another peer")
)

// routesBuilder makes routes from others that packets see: it copies what it first writes to.
type routesBuilder struct {
	to     *routes
	owned  [33]bool
	shards map[shard]bool
}

// shard is a map of ordinals.
type shard struct {
	bits int
	last byte
}

func newRoutesBuilder(from *routes) *routesBuilder {
	to := *from
	return &routesBuilder{to: &to, shards: map[shard]bool{}}
}

// at gives the map of a prefix, for writing, and its place there.
func (b *routesBuilder) at(p netip.Prefix) (m map[uint32]int32, key uint32, err error) {
	if !p.IsValid() || !p.Addr().Is4() {
		return nil, 0, errNotIPv4
	}
	a, n := p.Masked().Addr().As4(), p.Bits()
	key = binary.BigEndian.Uint32(a[:])
	if !b.owned[n] {
		b.owned[n] = true
		all := &ordinals{}
		if old := b.to.byLen[n]; old != nil {
			*all = *old
		} else {
			b.to.lengths = slices.SortedFunc(slices.Values(append(slices.Clone(b.to.lengths), n)), func(a, b int) int { return b - a })
		}
		b.to.byLen[n] = all
	}
	place := &b.to.byLen[n][byte(key)]
	if s := (shard{n, byte(key)}); !b.shards[s] {
		b.shards[s] = true
		if *place = maps.Clone(*place); *place == nil {
			*place = map[uint32]int32{}
		}
	}
	return *place, key, nil
}

// add also gives the peer that has the prefix already, if it is another one.
func (b *routesBuilder) add(p netip.Prefix, peer int32) (other int32, err error) {
	m, key, err := b.at(p)
	if err != nil {
		return nobody, err
	}
	if other, ok := m[key]; ok && other != peer {
		return other, errTaken
	}
	m[key] = peer
	return nobody, nil
}

func (b *routesBuilder) remove(p netip.Prefix) {
	if m, key, err := b.at(p); err == nil {
		delete(m, key)
	}
}
