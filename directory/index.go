package directory

import (
	"hash/maphash"
	"maps"
	"net/netip"
	"slices"

	"github.com/meshsec/meshsec/store"
)

// shards are how many maps an index is cut into: a change copies only those that it touches.
const shards = 1 << 10

// Entry is an endpoint in the directory. It is never changed.
type Entry struct {
	store.Endpoint
	sum uint64 // of its content
}

// index finds entries by a key. The zero value is empty.
type index[K comparable] struct {
	maps [shards]map[K][]*Entry
}

// get gives the entries of a key, in no particular order.
func (x *index[K]) get(seed maphash.Seed, key K) []*Entry {
	return x.maps[maphash.Comparable(seed, key)%shards][key]
}

// change is an index in the making: a copy that shares its maps with the one it comes from until it writes to them.
type change[K comparable] struct {
	*index[K]
	seed  maphash.Seed
	owned map[uint64]bool
	fresh map[K]bool // keys whose entries are in a slice that nobody else has
}

func newChange[K comparable](from *index[K], seed maphash.Seed) change[K] {
	next := *from
	return change[K]{&next, seed, map[uint64]bool{}, map[K]bool{}}
}

// own gives the map of a key, for writing.
func (c change[K]) own(key K) map[K][]*Entry {
	n := maphash.Comparable(c.seed, key) % shards
	if !c.owned[n] {
		c.owned[n] = true
		if c.maps[n] = maps.Clone(c.maps[n]); c.maps[n] == nil {
			c.maps[n] = map[K][]*Entry{}
		}
	}
	return c.maps[n]
}

func (c change[K]) add(key K, e *Entry) {
	m := c.own(key)
	if !c.fresh[key] {
		m[key] = slices.Clip(m[key]) // so that append copies it
	}
	m[key] = append(m[key], e)
	c.fresh[key] = true
}

func (c change[K]) remove(key K, e *Entry) {
	m := c.own(key)
	left := m[key]
	if !c.fresh[key] {
		left = slices.Clone(left)
	}
	left = slices.DeleteFunc(left, func(x *Entry) bool { return x == e })
	if m[key] = left; len(left) == 0 {
		delete(m, key)
	}
	c.fresh[key] = len(left) > 0
}

func compare(a, b *Entry) int {
	return compareKeys(a.Key(), b.Key())
}

// claim is what makes addresses a host's.
type claim struct {
	network string
	prefix  netip.Prefix
}

func (c claim) holds(k store.EndpointKey) bool {
	return c.network == k.Network && c.prefix.Contains(k.Addr)
}
