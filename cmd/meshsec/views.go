package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/ipsec/handshake"
	"github.com/meshsec/meshsec/mesh"
	"github.com/meshsec/meshsec/store"
)

// silent is after how long without any packet and without an answer to a probe a tunnel is no longer called up.
const silent = 6 * probeEvery

// hosts, peers, … answer from what is at hand, never from another host.
func (n *node) hosts() []control.Host {
	snap := n.store.Snapshot()
	seen := mesh.Sightings(snap)
	rows := make([]control.Host, 0, len(snap.Hosts))
	for id, h := range snap.Hosts {
		rows = append(rows, control.Host{ID: id, Name: h.Name, Self: id == n.id.HostID, Alive: snap.Alive[id],
			Underlay: underlayOf(h), Observed: seen[id], Router: h.Router, DataPlane: h.DataPlane, Encap: h.Encap, OS: h.OS, Arch: h.Arch,
			Version: h.Version, Endpoints: len(snap.Endpoints[id]), Authority: h.Authority, Since: h.Since})
	}
	slices.SortFunc(rows, func(a, b control.Host) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return rows
}

func underlayOf(h store.Host) string {
	switch {
	case len(h.Forwards) > 0:
		return h.Forwards[0].String()
	case len(h.Addrs) == 0:
		return ""
	}
	return netip.AddrPortFrom(h.Addrs[0], h.Port).String()
}

func (n *node) peers() []control.Peer {
	snap := n.store.Snapshot()
	counted := map[string]ipsec.PeerStats{}
	if stats, err := n.plane.Stats(); err == nil {
		for _, p := range stats.Peers {
			counted[p.Name] = p
		}
	}
	wanted := map[string]mesh.Peer{}
	for _, p := range n.mesh.Desired().Peers {
		wanted[p.ID] = p
	}
	shaken, statuses := map[string]handshake.PeerStatus{}, n.handshake.Status()
	for _, s := range statuses {
		shaken[s.HostID] = s
	}
	nats := n.nats(snap, statuses)
	rows := make([]control.Peer, 0, len(snap.Hosts))
	for id, h := range snap.Hosts {
		if id == n.id.HostID {
			continue
		}
		c, s := counted[id], shaken[id]
		rtt, answered := n.prober.last(id)
		state, reason := peerState(s, h, later(answered, c.LastRx), time.Now())
		if state != "up" && (state == "silent" || s.Attempts > 1) {
			reason += natNote(nats(n.id.HostID), nats(id))
		}
		p := control.Peer{ID: id, Name: h.Name, State: state, Reason: reason, Remote: underlayOf(h), Encap: string(wanted[id].Encap),
			LastHandshake: s.LastHandshake, LastRx: c.LastRx, RTT: rtt, MTU: wanted[id].MTU, RxBytes: c.RxBytes, TxBytes: c.TxBytes,
			RxPackets: c.RxPackets, TxPackets: c.TxPackets, Drops: c.Drops, DataPlane: n.dataPlane, DataPlaneReason: n.dataPlaneReason,
			Endpoints: len(snap.Endpoints[id])}
		if s.Remote.IsValid() {
			p.Remote = s.Remote.String()
		}
		if s.Cipher != 0 {
			p.Cipher = s.Cipher.String()
		}
		rows = append(rows, p)
	}
	slices.SortFunc(rows, func(a, b control.Peer) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return rows
}

// peerState is the handshake's word, unless the tunnel has been silent since: an SA pair says nothing about a peer that
// has died.
func peerState(s handshake.PeerStatus, h store.Host, heard, now time.Time) (state, reason string) {
	if s.State == "" {
		return "waiting", fmt.Sprintf("the fact of host %s has no handshake key or no underlay address", h.Name)
	}
	quiet := now.Sub(later(heard, s.LastHandshake))
	if s.State == handshake.StateUp && quiet > silent {
		why := fmt.Sprintf("nothing came back for %s: is the host down, or UDP %d blocked?", quiet.Round(time.Second), h.Port)
		if s.Reason != "" {
			why += "; " + s.Reason
		}
		return "silent", why
	}
	if s.State == handshake.StateUp {
		return "up", ""
	}
	return string(s.State), s.Reason
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (n *node) networks() []control.Network {
	snap, local := n.store.Snapshot(), n.checkpoint.Local()
	rows := map[string]*control.Network{}
	for name, f := range snap.Networks {
		rows[name] = &control.Network{Name: name, Pool: f.Pool, Dynamic: f.Dynamic, Gateway: f.Gateway, BlockLen: f.BlockLen}
	}
	for id, l := range local.Networks {
		if rows[l.Network] == nil {
			rows[l.Network] = &control.Network{Name: l.Network, Pool: l.Pool, Gateway: l.Gateway}
		}
		rows[l.Network].Here, rows[l.Network].DockerID = true, id
	}
	for k := range snap.Blocks {
		if r := rows[k.Network]; r != nil {
			r.Blocks++
		}
	}
	for k := range snap.EachEndpoint {
		if r := rows[k.Network]; r != nil {
			r.Endpoints++
		}
	}
	list := make([]control.Network, 0, len(rows))
	for _, r := range rows {
		list = append(list, *r)
	}
	slices.SortFunc(list, func(a, b control.Network) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (n *node) endpoints() []control.Endpoint {
	snap, local := n.store.Snapshot(), n.checkpoint.Local()
	var rows []control.Endpoint
	add := func(e store.Endpoint) {
		row := control.Endpoint{Network: e.Network, Addr: e.Addr, MAC: e.MAC, Host: snap.HostName(e.Host), HostID: e.Host,
			Name: e.Name, Container: e.ContainerID, ID: e.ID, Since: e.Since,
			Aliases: e.Aliases, Service: e.Service, Project: e.Project, Labels: e.Labels}
		for _, p := range e.Ports {
			row.Ports = append(row.Ports, p.String())
		}
		rows = append(rows, row)
	}
	// About its own endpoints this host knows better than etcd.
	for _, e := range local.Endpoints {
		add(e.Endpoint)
	}
	for k, e := range snap.EachEndpoint {
		if k.Host != n.id.HostID {
			add(e)
		}
	}
	slices.SortFunc(rows, func(a, b control.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), a.Addr.Compare(b.Addr), cmp.Compare(a.HostID, b.HostID))
	})
	return rows
}

func (n *node) blocks() []control.Block {
	snap := n.store.Snapshot()
	used := map[store.AddrKey]bool{}
	inBlock := map[store.BlockKey]int{}
	for k := range snap.EachEndpoint {
		used[store.AddrKey{Network: k.Network, Addr: k.Addr}] = true
		if prefix, err := k.Addr.Prefix(snap.Networks[k.Network].BlockLen); err == nil {
			inBlock[store.BlockKey{Network: k.Network, Prefix: prefix}]++
		}
	}
	var rows []control.Block
	for k, c := range snap.Blocks {
		rows = append(rows, control.Block{Network: k.Network, Prefix: k.Prefix, Kind: "block", Host: snap.HostName(c.Host), HostID: c.Host,
			Used: inBlock[k], Size: 1 << (k.Prefix.Addr().BitLen() - k.Prefix.Bits()), Since: c.Since})
	}
	for k, c := range snap.Statics {
		b := control.Block{Network: k.Network, Prefix: netip.PrefixFrom(k.Addr, k.Addr.BitLen()), Kind: "static", Host: snap.HostName(c.Host),
			HostID: c.Host, Size: 1, Since: c.Since}
		if used[k] {
			b.Used = 1
		}
		rows = append(rows, b)
	}
	slices.SortFunc(rows, func(a, b control.Block) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), a.Prefix.Addr().Compare(b.Prefix.Addr()))
	})
	return rows
}
