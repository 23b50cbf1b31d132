package handshake

import (
	"net/netip"
	"slices"
	"time"
)

// searchEvery is how often news about a peer's addresses may begin a handshake with it: they may be wrong.
const searchEvery = 10 * time.Second

// addresses are where inits to p go in turn, at least one. An address of this host's own is another network's: it is left out.
func (m *Machine) addresses(p *peer) []netip.AddrPort {
	last, remote := []netip.AddrPort{p.at}, []netip.AddrPort{p.Remote}
	all := slices.Concat(last, p.Seen, remote, p.Addrs)
	if p.Near {
		all = slices.Concat(p.Addrs, last, p.Seen, remote)
	}
	var list []netip.AddrPort
	for _, a := range all {
		if a.Addr().IsValid() && a.Port() != 0 && !slices.Contains(list, a) && !slices.Contains(m.options.Local, a) {
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		return []netip.AddrPort{p.remote()}
	}
	return list
}

// search takes up where else a peer may be. If it does not answer, or other hosts see it elsewhere and not any more where this
// host has it, a handshake tries the addresses soon.
func (m *Machine) search(now time.Duration, p *peer, w Peer) {
	if p.Near == w.Near && slices.Equal(p.Addrs, w.Addrs) && slices.Equal(p.Seen, w.Seen) {
		return
	}
	before := p.Seen
	p.Addrs, p.Seen, p.Near, p.shortened = w.Addrs, w.Seen, w.Near, false
	if p.out != nil && p.out.confirmed {
		m.shorten(now, p)
	}
	added := slices.ContainsFunc(p.Seen, func(a netip.AddrPort) bool { return !slices.Contains(before, a) })
	gone := slices.Contains(before, p.at) && !slices.Contains(p.Seen, p.at) && len(p.Seen) > 0
	switch {
	case now < p.searchAt:
		return
	case added && p.attempts > 0:
		p.attempts, p.startAt = 0, min(p.startAt, p.tried+firstRetry)
	case gone && p.out != nil:
		p.startAt = min(p.startAt, now)
	default:
		return
	}
	p.searchAt = now + searchEvery
}

// shorten begins another handshake with a peer behind the same NAT that was reached through it: its own address may not have
// answered because it did not know this host yet. Once is enough; rekeying tries that address first as well.
func (m *Machine) shorten(now time.Duration, p *peer) {
	if p.Near && !p.shortened && len(p.Addrs) > 0 && p.remote() != p.Addrs[0] {
		p.startAt = min(p.startAt, now+searchEvery+m.turn(p))
	}
}

// locate notes at which addresses the peers are: where they were seen, then where their facts say, then where others see them.
func (m *Machine) locate() {
	clear(m.remotes)
	all := m.sorted()
	note := func(a netip.AddrPort, p *peer) {
		if a.IsValid() && m.remotes[a] == nil {
			m.remotes[a] = p
		}
	}
	for _, p := range all {
		note(p.at, p)
	}
	for _, p := range all {
		note(p.Remote, p)
	}
	for _, p := range all {
		for _, a := range slices.Concat(p.Addrs, p.Seen) {
			note(a, p)
		}
	}
}

// move notes where an authentic packet of p came from and says whether that is new.
func (m *Machine) move(p *peer, from netip.AddrPort) bool {
	from = unmap(from)
	if !from.Addr().IsValid() || from.Port() == 0 || from == p.remote() {
		return false
	}
	p.at = from
	m.locate()
	return true
}

// keepAlive begins keepalives to p if there is a NAT between, as p sees this host, and ends them if not.
func (m *Machine) keepAlive(now time.Duration, p *peer) {
	if len(m.options.Local) == 0 || slices.Contains(m.options.Local, p.observed) {
		p.keepAt = never
		return
	}
	p.keepAt = min(p.keepAt, now+keepaliveEvery)
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

func unmapAll(list []netip.AddrPort) []netip.AddrPort {
	all := make([]netip.AddrPort, len(list))
	for i, a := range list {
		all[i] = unmap(a)
	}
	return all
}
