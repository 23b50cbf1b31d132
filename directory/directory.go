package directory

import (
	"cmp"
	"hash/maphash"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/meshsec/meshsec/store"
)

// Directory is who is where at one moment. It is immutable; all methods may be called concurrently.
type Directory struct {
	snap  *store.Snapshot
	local *store.Local
	self  string
	lost  map[string]bool // hosts that are down, by ID

	seed  maphash.Seed
	names *index[string]
	addrs *index[netip.Addr]
	// facts are all endpoints, also those that are not routed, by host; about this host the checkpoint's.
	facts map[string]map[store.EndpointKey]*store.Endpoint
	sums  map[string]uint64 // by network: of what is in it
	// hosts are the environment's by name, in lower case; hostSum is over their content.
	hosts   map[string][]store.Host
	hostSum uint64
	askers  map[netip.Addr]*Asker
	entries int
}

// New is the directory of an environment without facts, on the host with this ID.
func New(self string) *Directory {
	return &Directory{snap: &store.Snapshot{}, local: &store.Local{}, self: self, seed: maphash.MakeSeed(),
		names: &index[string]{}, addrs: &index[netip.Addr]{}}
}

// Next is the directory after d: by these facts, with these hosts lost. Nothing of d changes. What it costs grows with
// what is new in the facts, not with how many there are.
func (d *Directory) Next(snap *store.Snapshot, local *store.Local, lost map[string]bool) *Directory {
	n := *d
	n.snap, n.local, n.lost = snap, local, lost
	b := builder{from: d, to: &n, names: newChange(d.names, d.seed), addrs: newChange(d.addrs, d.seed)}
	n.sums = maps.Clone(d.sums)
	if n.sums == nil {
		n.sums = map[string]uint64{}
	}
	b.facts()
	b.claims()
	n.names, n.addrs = b.names.index, b.addrs.index
	if !same(d.snap.Hosts, snap.Hosts) || !maps.Equal(d.lost, lost) {
		n.setHosts()
	}
	if d.local != local || d.snap.Networks == nil {
		n.setAskers()
	}
	return &n
}

// Of tells whether d was made from these.
func (d *Directory) Of(snap *store.Snapshot, local *store.Local, lost map[string]bool) bool {
	return d.snap == snap && d.local == local && maps.Equal(d.lost, lost)
}

// same tells whether two maps are one: snapshots share what has not changed.
func same[M ~map[K]V, K comparable, V any](a, b M) bool {
	return len(a) == len(b) && reflect.ValueOf(a).UnsafePointer() == reflect.ValueOf(b).UnsafePointer()
}

func (d *Directory) setHosts() {
	d.hosts, d.hostSum = make(map[string][]store.Host, len(d.snap.Hosts)), 0
	for id, h := range d.snap.Hosts {
		name := strings.ToLower(h.Name)
		d.hosts[name] = append(d.hosts[name], h)
		d.hostSum += sumHost(h, d.lost[id])
	}
	for _, hosts := range d.hosts {
		slices.SortFunc(hosts, func(a, b store.Host) int { return cmp.Compare(a.ID, b.ID) })
	}
}

// Revision is that of the facts; 0: they are this host's own, from its disk.
func (d *Directory) Revision() int64 { return d.snap.Revision }

// Snapshot is what the directory was made from.
func (d *Directory) Snapshot() *store.Snapshot { return d.snap }

// Len is the number of endpoints, Hosts of all hosts.
func (d *Directory) Len() int { return d.entries }

// Lost tells whether a host, by ID, is down: what runs there is not to be answered.
func (d *Directory) Lost(host string) bool { return d.lost[host] }

// Find gives the endpoints of a name (in lower case, without a dot at the end) in networks; exists tells whether there is
// such a name, though perhaps on lost hosts only, or with other names below it. The list is the caller's own.
func (d *Directory) Find(name string, networks []string) (found []*Entry, exists bool) {
	all := d.names.get(d.seed, name)
	for i, e := range all {
		if !slices.Contains(networks, e.Network) {
			continue
		}
		if exists = true; d.lost[e.Host] {
			continue
		}
		if found == nil {
			found = make([]*Entry, 0, len(all)-i)
		}
		found = append(found, e)
	}
	if !exists {
		for _, e := range d.names.get(d.seed, below+name) {
			exists = exists || slices.Contains(networks, e.Network)
		}
	}
	return found, exists
}

// At gives the endpoint at an address in networks, nil if there is none.
func (d *Directory) At(addr netip.Addr, networks []string) *Entry {
	var found *Entry
	for _, e := range d.addrs.get(d.seed, addr) {
		if slices.Contains(networks, e.Network) && (found == nil || compare(e, found) < 0) {
			found = e
		}
	}
	return found
}

// Endpoints gives all endpoints in networks, sorted by network, host and address.
func (d *Directory) Endpoints(networks []string) []*Entry {
	var list []*Entry
	d.addrs.all(func(e *Entry) {
		if slices.Contains(networks, e.Network) {
			list = append(list, e)
		}
	})
	slices.SortFunc(list, compare)
	return list
}

// Hosts gives the hosts of a name (in lower case). Two may have one.
func (d *Directory) Hosts(name string) []store.Host { return d.hosts[name] }

// Pool tells which pool of the environment holds an address, whoever asks.
func (d *Directory) Pool(addr netip.Addr) (pool netip.Prefix, ok bool) {
	for _, n := range d.snap.Networks {
		if n.Pool.Contains(addr) {
			return n.Pool, true
		}
	}
	for _, n := range d.local.Networks {
		if n.Pool.Contains(addr) {
			return n.Pool, true
		}
	}
	return pool, false
}

func compareKeys(a, b store.EndpointKey) int {
	return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Host, b.Host), a.Addr.Compare(b.Addr))
}

// Named tells whether a name (in lower case) is an endpoint's in networks, not only one that others are below.
func (d *Directory) Named(name string, networks []string) bool {
	return slices.ContainsFunc(d.names.get(d.seed, name), func(e *Entry) bool { return slices.Contains(networks, e.Network) })
}

// Local is what the directory was made from, of this host.
func (d *Directory) Local() *store.Local { return d.local }
