package mesh

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/meshsec/meshsec/store"
)

// maxSeen is how many of the addresses at which others see a host are tried.
const maxSeen = 4

// NAT is what is known of the NAT that a host is behind.
type NAT int

const (
	// NoNAT: nobody sees the host at another address than its own, as far as is known.
	NoNAT NAT = iota
	// StableNAT: all see it at one address and port.
	StableNAT
	// ChangingNAT: it is seen at several ports, or by one host at a port that is not its own: a NAT that chooses another port
	// for each destination.
	ChangingNAT
)

// BehindNAT says what the hosts of the environment have observed of one of them. more are addresses at which it was seen as well.
func BehindNAT(snap *store.Snapshot, id string, more ...netip.AddrPort) NAT {
	h := snap.Hosts[id]
	times := map[netip.AddrPort]int{}
	for by, other := range snap.Hosts {
		if at, ok := other.Observed[id]; ok && by != id {
			more = append(more, at)
		}
	}
	for _, at := range more {
		if at = unmap(at); at.IsValid() && !Declares(h, at) {
			times[at]++
		}
	}
	for at, n := range times {
		if len(times) > 1 || n == 1 && at.Port() != h.Port {
			return ChangingNAT
		}
	}
	return NAT(len(times)) // 0 or 1
}

// Declares says whether an address and port is one that the host itself tells.
func Declares(h store.Host, at netip.AddrPort) bool {
	return slices.Contains(h.Forwards, at) || at.Port() == h.Port && slices.ContainsFunc(h.Addrs, func(a netip.Addr) bool { return a.Unmap() == at.Addr() })
}

// Sightings gives the addresses at which each host is seen by others, those that most see first. Hosts without a lease, whose
// sightings are likely old, count for little.
func Sightings(snap *store.Snapshot) map[string][]netip.AddrPort {
	type sight struct {
		id string
		at netip.AddrPort
	}
	weight := map[sight]int{}
	for by, h := range snap.Hosts {
		for id, at := range h.Observed {
			if id == by {
				continue
			}
			weight[sight{id, unmap(at)}]++
			if snap.Alive[by] {
				weight[sight{id, unmap(at)}] += len(snap.Hosts)
			}
		}
	}
	seen := map[string][]netip.AddrPort{}
	for s := range weight {
		seen[s.id] = append(seen[s.id], s.at)
	}
	for id, list := range seen {
		slices.SortFunc(list, func(a, b netip.AddrPort) int {
			return cmp.Or(cmp.Compare(weight[sight{id, b}], weight[sight{id, a}]), a.Compare(b))
		})
	}
	return seen
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// addresses gives a host's own addresses, those at which others see it, and whether it is behind the NAT that this host is behind.
func (c *computation) addresses(h store.Host, seen map[string][]netip.AddrPort) (own, theirs []netip.AddrPort, near bool) {
	theirs = c.family(seen[h.ID])
	outside := append(c.forwards(h), theirs...)
	for _, mine := range append(c.forwards(c.snap.Hosts[c.o.Self]), seen[c.o.Self]...) {
		near = near || slices.ContainsFunc(outside, func(a netip.AddrPort) bool { return a.Addr() == mine.Addr() })
	}
	theirs = theirs[:min(len(theirs), maxSeen)]
	if near {
		return append(c.own(h), c.forwards(h)...), theirs, near
	}
	return append(c.forwards(h), c.own(h)...), theirs, near
}

// own are the host's own addresses of this host's family.
func (c *computation) own(h store.Host) []netip.AddrPort {
	var all []netip.AddrPort
	for _, a := range h.Addrs {
		if h.Port != 0 {
			all = append(all, netip.AddrPortFrom(a, h.Port))
		}
	}
	return c.family(all)
}

// forwards are the addresses of NATs that forward to the host.
func (c *computation) forwards(h store.Host) []netip.AddrPort { return c.family(h.Forwards) }

// family leaves the addresses of this host's family, each once.
func (c *computation) family(list []netip.AddrPort) []netip.AddrPort {
	var all []netip.AddrPort
	for _, a := range list {
		a = unmap(a)
		if a.Addr().IsValid() && a.Addr().Is6() == c.o.V6 && a.Port() != 0 && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}
