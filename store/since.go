package store

import (
	"bytes"
	"reflect"
	"slices"
)

// SameMap tells whether two maps are one: successive Snapshots share what has not changed.
func SameMap[K comparable, V any](a, b map[K]V) bool {
	return len(a) == len(b) && reflect.ValueOf(a).UnsafePointer() == reflect.ValueOf(b).UnsafePointer()
}

// since calls each for every fact kept on disk that is not what it was in an earlier Snapshot, with nil for one that is gone, in no
// particular order. What the two share is not looked at.
func (s *Snapshot) since(old *Snapshot, each func(k factKey, fact any)) {
	changesOf(old.Hosts, s.Hosts, hostKey, each)
	changesOf(old.Networks, s.Networks, networkKey, each)
	changesOf(old.Blocks, s.Blocks, blockKey, each)
	changesOf(old.Statics, s.Statics, staticKey, each)
	changesOf(old.Routers, s.Routers, routerKey, each)
	for host, endpoints := range s.Endpoints {
		changesOf(old.Endpoints[host], endpoints, endpointKey, each)
	}
	for host, endpoints := range old.Endpoints {
		if _, there := s.Endpoints[host]; !there {
			changesOf(endpoints, nil, endpointKey, each)
		}
	}
	changesOf(old.Revoked, s.Revoked, revokedKey, each)
	switch {
	case slices.EqualFunc(old.Members, s.Members, func(a, b Member) bool { return reflect.DeepEqual(a, b) }):
	case len(s.Members) == 0:
		each(factKey{kind: kindMembers}, nil)
	default:
		each(factKey{kind: kindMembers}, memberList{Version, s.Members})
	}
	switch {
	case bytes.Equal(old.CA, s.CA):
	case s.CA == nil:
		each(factKey{kind: kindCA}, nil)
	default:
		each(factKey{kind: kindCA}, authority{V: Version, Cert: s.CA})
	}
}

func changesOf[K comparable, V any](old, now map[K]V, key func(K) factKey, each func(k factKey, fact any)) {
	if SameMap(old, now) {
		return
	}
	eachChange(old, now, func(k K, v V) { each(key(k), v) }, func(k K) { each(key(k), nil) })
}

// eachChange calls set for what now has anew or otherwise, and gone for what only old has.
func eachChange[K comparable, V any](old, now map[K]V, set func(K, V), gone func(K)) {
	for k, v := range now {
		if was, there := old[k]; !there || !reflect.DeepEqual(was, v) {
			set(k, v)
		}
	}
	for k := range old {
		if _, there := now[k]; !there {
			gone(k)
		}
	}
}
