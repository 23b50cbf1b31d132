package main

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/meshsec/meshsec/ipsec/handshake"
	"github.com/meshsec/meshsec/mesh"
	"github.com/meshsec/meshsec/store"
)

const (
	// observeEvery is how often the peers' addresses are looked at.
	observeEvery = time.Second
	// publishEvery is the least time between two facts of this host because of what it observes.
	publishEvery = 5 * time.Second
	// observeDelay times the number of hosts is how long a host leaves it to others, at most, to publish what is new.
	observeDelay = 50 * time.Millisecond
	// enough is how many hosts publish that they see a peer at an address, and enoughAddrs at any. Those who publish it when so
	// many others do, because they did not know of each other, go on up to twice as many.
	enough, enoughAddrs = 2, 4
)

// observer chooses what this host publishes of where it sees its peers. A host behind a NAT is seen by all, so only a few do it.
type observer struct {
	self      string
	published map[string]netip.AddrPort
	due       map[string]time.Time // when what is not published yet may be, by host ID
}

// observe publishes where this host sees peers that are behind a NAT, until ctx ends.
func (n *node) observe(ctx context.Context) error {
	o := observer{self: n.id.HostID}
	tick := time.NewTicker(observeEvery)
	defer tick.Stop()
	var last time.Time
	etcd := n.fact.Etcd
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			snap := n.store.Snapshot()
			if now.Sub(last) < publishEvery || snap.FromDisk {
				continue
			}
			ports := n.etcdPorts()
			if o.update(now, snap, n.observed(now, snap)) || ports != etcd {
				last, etcd = now, ports
				fact := n.fact
				fact.Observed, fact.Etcd = maps.Clone(o.published), ports
				n.store.SetHost(fact)
			}
		}
	}
}

// observed gives the peers whose packets come from an address that is none of theirs. A host that is behind a NAT itself gives
// none: it is the last to see a change, for its NAT lets in nothing from a new address.
func (n *node) observed(now time.Time, snap *store.Snapshot) map[string]netip.AddrPort {
	seen := map[string]netip.AddrPort{}
	if len(n.forwards) == 0 && !public(n.fact, n.told()) {
		return seen
	}
	for _, s := range n.handshake.Status() {
		h, known := snap.Hosts[s.HostID]
		_, answered := n.prober.last(s.HostID)
		if known && s.State == handshake.StateUp && now.Sub(later(answered, s.LastHandshake)) < silent && !mesh.Declares(h, s.Remote) {
			seen[s.HostID] = s.Remote
		}
	}
	return seen
}

// told is where other hosts see this one, each by its own word.
func (n *node) told() []netip.AddrPort {
	var told []netip.AddrPort
	for _, s := range n.handshake.Status() {
		if s.Observed.IsValid() {
			told = append(told, s.Observed)
		}
	}
	return told
}

// public says whether most of those who have told a host where they see it name an address of its own. One alone, or what
// somebody publishes, can't talk a host out of it, and with it all hosts behind NATs out of finding each other.
func public(h store.Host, told []netip.AddrPort) bool {
	own, other := 0, 0
	for _, at := range told {
		switch {
		case !at.IsValid():
		case mesh.Declares(h, netip.AddrPortFrom(at.Addr().Unmap(), at.Port())):
			own++
		default:
			other++
		}
	}
	return own > other || other == 0
}

// update settles what to publish of what is seen, and says whether it has changed.
func (o *observer) update(now time.Time, snap *store.Snapshot, seen map[string]netip.AddrPort) bool {
	if snap.FromDisk {
		return false // who else publishes is not known
	}
	next, due := map[string]netip.AddrPort{}, map[string]time.Time{}
	for _, id := range slices.Sorted(maps.Keys(seen)) {
		at := seen[id]
		_, mine := o.published[id]
		same, all := o.others(snap, id, at, mine)
		most, mostAddrs := enough, enoughAddrs
		if mine {
			most, mostAddrs = 2*most, 2*mostAddrs
		}
		if same >= most || all >= mostAddrs || len(next) == store.MaxObserved {
			continue
		}
		if when, ok := o.due[id]; ok {
			due[id] = when
		} else if !mine {
			due[id] = now.Add(rand.N(observeDelay * time.Duration(len(snap.Hosts)+1)))
		}
		if !due[id].After(now) {
			next[id] = at
			delete(due, id)
		}
	}
	o.due = due
	if maps.Equal(next, o.published) {
		return false
	}
	o.published = next
	return true
}

// others counts the living hosts that publish where they see a host: at the same address, and at all. Those of higher IDs do not
// count where this host has published it, too, or all could withdraw at once.
func (o *observer) others(snap *store.Snapshot, id string, at netip.AddrPort, mine bool) (same, all int) {
	for by, h := range snap.Hosts {
		theirs, ok := h.Observed[id]
		if !ok || by == o.self || by == id || !snap.Alive[by] || mine && cmp.Compare(by, o.self) > 0 {
			continue
		}
		all++
		if theirs == at {
			same++
		}
	}
	return same, all
}
