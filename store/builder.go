package store

import (
	"errors"
	"fmt"
	"maps"
	"unique"
)

// builder makes the next Snapshot from one that others are reading: it copies a map when it first writes to it, so what
// does not change is shared.
type builder struct {
	next    Snapshot
	copied  map[any]bool // pointers to the fields of next whose maps are its own, and host IDs of endpoint maps that are
	changed bool
}

func newBuilder(from *Snapshot) *builder {
	return &builder{next: *from, copied: map[any]bool{}}
}

// set takes over a value from etcd, or notes why it can't.
func (b *builder) set(key string, value []byte) {
	k, err := parseKey(key)
	if errors.Is(err, errOtherKind) {
		return
	}
	b.changed = true
	removeFrom(b, &b.next.Bad, badName(key))
	if err != nil {
		writable(b, &b.next.Bad)[badName(key)] = err.Error()
		return
	}
	fact, err := decodeValue(k, value)
	if err != nil {
		b.drop(k)
		writable(b, &b.next.Bad)[badName(key)] = err.Error()
		return
	}
	b.take(k, fact)
}

// take takes over a fact that was found good.
func (b *builder) take(k factKey, fact any) {
	b.changed = true
	switch k.kind {
	case kindHost:
		writable(b, &b.next.Hosts)[k.host] = fact.(Host)
	case kindAlive:
		if _, out := b.next.Revoked[k.host]; !out {
			writable(b, &b.next.Alive)[k.host] = true
		}
	case kindNetwork:
		writable(b, &b.next.Networks)[k.network] = fact.(Network)
	case kindBlock:
		writable(b, &b.next.Blocks)[BlockKey{k.network, k.prefix}] = fact.(Claim)
	case kindStatic:
		writable(b, &b.next.Statics)[AddrKey{k.network, k.addr}] = fact.(Claim)
	case kindRouter:
		writable(b, &b.next.Routers)[k.addr] = fact.(Claim)
	case kindEndpoint:
		e := fact.(Endpoint)
		for _, word := range []*string{&e.Host, &e.Network, &e.Service, &e.Project} {
			*word = unique.Make(*word).Value() // many endpoints have the same
		}
		b.endpointsOf(k.host)[e.Key()] = &e
	case kindCert:
		writable(b, &b.next.Certs)[k.host] = fact.(Renewal).Cert
	case kindServer:
		writable(b, &b.next.Servers)[k.host] = fact.(Renewal).Cert
	case kindMembers:
		b.next.Members = fact.(memberList).Members
	case kindRevoked:
		writable(b, &b.next.Revoked)[k.host] = fact.(Revocation)
	case kindCA:
		b.next.CA = fact.(authority).Cert
	}
}

// remove forgets a key that is gone from etcd.
func (b *builder) remove(key string) {
	k, err := parseKey(key)
	if errors.Is(err, errOtherKind) {
		return
	}
	b.changed = true
	removeFrom(b, &b.next.Bad, badName(key))
	if err == nil {
		b.drop(k)
	}
}

func (b *builder) drop(k factKey) {
	switch k.kind {
	case kindHost:
		removeFrom(b, &b.next.Hosts, k.host)
	case kindAlive:
		removeFrom(b, &b.next.Alive, k.host)
	case kindNetwork:
		removeFrom(b, &b.next.Networks, k.network)
	case kindBlock:
		removeFrom(b, &b.next.Blocks, BlockKey{k.network, k.prefix})
	case kindStatic:
		removeFrom(b, &b.next.Statics, AddrKey{k.network, k.addr})
	case kindRouter:
		removeFrom(b, &b.next.Routers, k.addr)
	case kindEndpoint:
		b.dropEndpoint(EndpointKey{k.host, k.network, k.addr})
	case kindCert:
		removeFrom(b, &b.next.Certs, k.host)
	case kindServer:
		removeFrom(b, &b.next.Servers, k.host)
	case kindMembers:
		b.next.Members = nil
	case kindRevoked:
		removeFrom(b, &b.next.Revoked, k.host)
	case kindCA:
		b.next.CA = nil
	}
}

// claim is the claim that the next Snapshot has at a key.
func (b *builder) claim(k factKey) (Claim, bool) {
	var c Claim
	var ok bool
	switch k.kind {
	case kindBlock:
		c, ok = b.next.Blocks[BlockKey{k.network, k.prefix}]
	case kindStatic:
		c, ok = b.next.Statics[AddrKey{k.network, k.addr}]
	case kindRouter:
		c, ok = b.next.Routers[k.addr]
	}
	return c, ok
}

// note says why a value is ignored; empty: it is not.
func (b *builder) note(key, why string) {
	if have := b.next.Bad[badName(key)]; have == why {
		return
	}
	b.changed = true
	if removeFrom(b, &b.next.Bad, badName(key)); why != "" {
		writable(b, &b.next.Bad)[badName(key)] = why
	}
}

func (b *builder) dropEndpoint(key EndpointKey) {
	if _, ok := b.next.Endpoint(key); !ok {
		return
	}
	endpoints := b.endpointsOf(key.Host)
	delete(endpoints, key)
	if len(endpoints) == 0 {
		removeFrom(b, &b.next.Endpoints, key.Host)
		delete(b.copied, key.Host)
	}
}

// endpointsOf gives the map of one host's endpoints, for writing.
func (b *builder) endpointsOf(host string) map[EndpointKey]*Endpoint {
	all := writable(b, &b.next.Endpoints)
	if !b.copied[host] {
		b.copied[host] = true
		all[host] = cloneMap(all[host])
	}
	return all[host]
}

func writable[K comparable, V any](b *builder, field *map[K]V) map[K]V {
	if !b.copied[field] {
		b.copied[field] = true
		if *field == nil {
			*field = map[K]V{}
		} else {
			*field = maps.Clone(*field)
		}
	}
	return *field
}

func removeFrom[K comparable, V any](b *builder, field *map[K]V, key K) {
	if _, ok := (*field)[key]; ok {
		delete(writable(b, field), key)
	}
}

// badName is how Snapshot.Bad calls a key, which may be anything.
func badName(key string) string {
	if err := checkText("", key); err != nil {
		return fmt.Sprintf("%.200q", key)
	}
	return key
}
