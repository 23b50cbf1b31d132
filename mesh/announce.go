package mesh

import (
	"net"
	"net/netip"
	"slices"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
)

// home is an address on a bridge.
type home struct {
	bridge string
	addr   netip.Addr
}

// announcer tells the containers of this host of addresses that have moved: from another host to this one, or from this
// one to another. Addresses that are gone are remembered as they last were, because a container does not forget them at
// once either. The first time it only takes note.
type announcer struct {
	here    map[home]bool             // false: remote; nil: before the first time
	bridges []string                  // of the last time
	done    map[string][]netip.Prefix // of peers, by ID: all of these are as in here
}

func (a *announcer) announce(d Desired, links Links) (errs []error) {
	first := a.here == nil
	if first {
		a.here = map[home]bool{}
	}
	bridges := make([]string, len(d.Bridges))
	for i, b := range d.Bridges {
		bridges[i] = b.Name
	}
	if !slices.Equal(bridges, a.bridges) {
		a.bridges, a.done = bridges, map[string][]netip.Prefix{}
		for h := range a.here {
			if !slices.Contains(bridges, h.bridge) {
				delete(a.here, h) // nobody is left to be told
			}
		}
	}
	note := func(h home, here bool, mac net.HardwareAddr) bool {
		if was, known := a.here[h]; !first && known && was != here {
			if err := links.Announce(h.bridge, h.addr, mac); err != nil {
				errs = append(errs, err)
				return false // still to be announced
			}
		}
		a.here[h] = here
		return true
	}
	for _, p := range d.Ports {
		note(home{p.Bridge, p.Addr}, true, p.MAC)
	}
	done := make(map[string][]netip.Prefix, len(d.Peers))
	for _, p := range d.Peers {
		if before, ok := a.done[p.ID]; ok && ipsec.SamePrefixes(before, p.Prefixes) {
			done[p.ID] = before
			continue
		}
		all := true
		for _, prefix := range p.Prefixes {
			at := slices.IndexFunc(d.Bridges, func(b link.Bridge) bool { return b.Pool.Contains(prefix.Addr()) })
			if at >= 0 { // else it is the peer's router address
				b := d.Bridges[at]
				all = note(home{b.Name, prefix.Addr()}, false, b.MAC) && all
			}
		}
		if all {
			done[p.ID] = p.Prefixes
		}
	}
	a.done = done
	return errs
}
