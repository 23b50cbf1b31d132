package directory

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/meshsec/meshsec/store"
)

// Asker is a container of this host that asks.
type Asker struct {
	store.LocalEndpoint                       // by which it asks
	Own                 []store.LocalEndpoint // all that it has, sorted by network
	Networks            []string              // that it is in, sorted
	// Outside tells whether it may reach more than the mesh: a network of its own is known and was not made with --internal.
	Outside bool
}

// Asker finds who has an address, nil if it is no container of this host. The source guard sees to it that nobody else
// speaks with the address.
func (d *Directory) Asker(addr netip.Addr) *Asker { return d.askers[addr] }

// Askers gives the endpoints of this host that a word means: an address, the name or the (short) ID of a container; all for
// none. They are sorted by address.
func (d *Directory) Askers(word string) []*Asker {
	var found []*Asker
	for addr, a := range d.askers {
		if word == "" || addr.String() == word || a.Name == word || len(word) >= 12 && len(a.ContainerID) >= len(word) && a.ContainerID[:len(word)] == word {
			found = append(found, a)
		}
	}
	slices.SortFunc(found, func(a, b *Asker) int { return a.Addr.Compare(b.Addr) })
	return found
}

// setAskers groups the endpoints of this host by container: Docker's sandbox is the same for all of one's.
func (d *Directory) setAskers() {
	sandboxes := map[string][]store.LocalEndpoint{}
	for id, e := range d.local.Endpoints {
		key := e.SandboxKey
		if key == "" {
			key = id
		}
		sandboxes[key] = append(sandboxes[key], e)
	}
	d.askers = make(map[netip.Addr]*Asker, len(d.local.Endpoints))
	for _, own := range sandboxes {
		slices.SortFunc(own, func(a, b store.LocalEndpoint) int { return compareKeys(a.Key(), b.Key()) })
		var networks []string
		outside := false
		for _, e := range own {
			networks = append(networks, e.Network)
			n, known := d.local.Networks[e.DockerNetwork]
			outside = outside || known && !n.Internal
		}
		networks = slices.Compact(networks)
		for _, e := range own {
			d.askers[e.Addr] = &Asker{LocalEndpoint: e, Own: own, Networks: networks, Outside: outside}
		}
	}
}

// Version stands for all that a container may see: it changes whenever something of that does, and only then.
func (d *Directory) Version(a *Asker) string {
	words := []string{strconv.FormatUint(d.hostSum, 16)}
	for _, name := range a.Networks {
		words = append(words, name, d.snap.Networks[name].Pool.String(), strconv.FormatUint(d.sums[name], 16))
	}
	return strconv.FormatUint(sum(words...), 16)
}
