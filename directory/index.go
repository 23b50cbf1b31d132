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
	*store.Endpoint
	sum  uint64    // of its content
	self [1]*Entry // for lists of this one alone, which nearly all are
}

func newEntry(e *store.Endpoint) *Entry {
	entry := &Entry{Endpoint: e, sum: sumEndpoint(*e)}
	entry.self[0] = entry
	return entry
}

// index finds entries by a key. The zero value is empty.
type index[K comparable] struct {
	one  [shards]map[K]*Entry   // of keys that have one entry
	more [shards]map[K][]*Entry // of those that have several
}

// get gives the entries of a key, in no particular order.
func (x *index[K]) get(seed maphash.Seed, key K) []*Entry {
	return x.at(maphash.Comparable(seed, key)%shards, key)
}

func (x *index[K]) at(shard uint64, key K) []*Entry {
	if e := x.one[shard][key]; e != nil {
		return e.self[:]
	}
	return x.more[shard][key]
}

// all calls fn for every entry, once for each of its keys.
func (x *index[K]) all(fn func(*Entry)) {
	for _, m := range x.one {
		for _, e := range m {
			fn(e)
		}
	}
	for _, m := range x.more {
		for _, entries := range m {
			for _, e := range entries {
				fn(e)
			}
		}
	}
}

// change is an index in the making: a copy that shares its maps with the one it comes from until it writes to them.
type change[K comparable] struct {
	*index[K]
	seed      maphash.Seed
	one, more map[uint64]bool // shards whose maps are its own
	fresh     map[K]bool      // keys of several entries whose list nobody else has
}

func newChange[K comparable](from *index[K], seed maphash.Seed) change[K] {
	next := *from
	return change[K]{&next, seed, map[uint64]bool{}, map[uint64]bool{}, map[K]bool{}}
}

// own gives the map of a shard, for writing.
func own[K comparable, V any](owned map[uint64]bool, place *map[K]V, shard uint64) map[K]V {
	if !owned[shard] {
		owned[shard] = true
		if *place = maps.Clone(*place); *place == nil {
			*place = map[K]V{}
		}
	}
	return *place
}

// set makes these the entries of a key; the list must be nobody else's.
func (c change[K]) set(shard uint64, key K, entries []*Entry) {
	if len(entries) == 1 {
		own(c.one, &c.index.one[shard], shard)[key] = entries[0]
	} else if c.index.one[shard][key] != nil {
		delete(own(c.one, &c.index.one[shard], shard), key)
	}
	if len(entries) > 1 {
		own(c.more, &c.index.more[shard], shard)[key] = entries
		c.fresh[key] = true
	} else if c.index.more[shard][key] != nil {
		delete(own(c.more, &c.index.more[shard], shard), key)
		delete(c.fresh, key)
	}
}

func (c change[K]) add(key K, e *Entry) {
	n := maphash.Comparable(c.seed, key) % shards
	list := c.at(n, key)
	if !c.fresh[key] {
		list = slices.Clip(list) // so that append copies it
	}
	c.set(n, key, append(list, e))
}

func (c change[K]) remove(key K, e *Entry) {
	n := maphash.Comparable(c.seed, key) % shards
	list := c.at(n, key)
	if !c.fresh[key] {
		list = slices.Clone(list)
	}
	c.set(n, key, slices.DeleteFunc(list, func(x *Entry) bool { return x == e }))
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
