package xfrm

import (
	"slices"
	"strings"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// tally is what has been counted since the plane was opened.
type tally struct {
	last   map[stateKey]counter // as listed before
	links  map[string]uint64    // unsealed, as listed before
	counts map[string]*count    // by host ID
	base   map[string]uint64    // the kernel's drops at the beginning
}

type count struct {
	rx, tx   counter
	unsealed uint64
	lastRx   time.Time
}

func (t *tally) init() {
	t.last, t.links, t.counts = map[stateKey]counter{}, map[string]uint64{}, map[string]*count{}
}

// since subtracts; if the counter has begun anew, old does not count.
func (c counter) since(old counter) counter {
	if c.Packets < old.Packets {
		return c
	}
	return counter{c.Bytes - old.Bytes, c.Packets - old.Packets, c.Old - old.Old, c.Replay - old.Replay, c.ICV - old.ICV}
}

func (c *counter) add(d counter) {
	c.Bytes, c.Packets = c.Bytes+d.Bytes, c.Packets+d.Packets
	c.Old, c.Replay, c.ICV = c.Old+d.Old, c.Replay+d.Replay, c.ICV+d.ICV
}

// account takes in the counters of a list, confirms SAs, and finds those that are used up.
func (p *Plane) account(inv inventory, now time.Time) {
	own := map[stateKey]*association{}
	p.each(func(_ *peer, a *association) { own[a.key] = a })
	for k, c := range inv.counters {
		e := p.byIfID[inv.States[k].IfID]
		if e == nil {
			continue
		}
		old, known := p.last[k]
		if !known && own[k] == nil { // of an agent before this one
			old = c
		}
		p.last[k] = c
		p.count(e, k, c.since(old), now)
		if a := own[k]; a != nil {
			p.saw(e, a, c, now)
		}
	}
	for k := range p.last {
		if _, there := inv.States[k]; !there {
			delete(p.last, k)
		}
	}
	for _, e := range p.memory.peers {
		if n, ok := inv.unsealed[e.dev]; ok {
			if old, known := p.links[e.dev]; known && n >= old {
				p.of(e.Name).unsealed += n - old
			}
			p.links[e.dev] = n
		}
	}
}

func (t *tally) of(name string) *count {
	c := t.counts[name]
	if c == nil {
		c = &count{}
		t.counts[name] = c
	}
	return c
}

func (p *Plane) count(e *peer, k stateKey, d counter, now time.Time) {
	c := p.of(e.Name)
	if k.Dst != e.us {
		c.tx.add(d)
		return
	}
	c.rx.add(d)
	if d.Packets > 0 {
		c.lastRx = now
	}
}

// saw looks at the counter of an SA of the config.
func (p *Plane) saw(e *peer, a *association, c counter, now time.Time) {
	a.limit = a.limit || a.state.Life.hard(c)
	if a.state.Life.soft(c) {
		p.softened(e, a)
	}
	if a.out {
		return
	}
	if c.Packets == 0 || a.stage != installed {
		return
	}
	if !a.confirmed {
		a.confirmed = p.events.send(ipsec.Event{Kind: ipsec.SPIConfirmed, Peer: e.Name, SPI: a.key.SPI})
	}
	if e.proven.IsZero() && e.out.usable() && e.out.stage == installed {
		e.proven = now
		p.proven[e.Name] = now
	}
}

// Stats implements ipsec.Dataplane. The counters are the kernel's; what was counted on an SA between the last look at it
// and its end is missing.
func (p *Plane) Stats() (ipsec.Stats, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ipsec.Stats{}, errClosed
	}
	inv, err := p.kernel.list()
	if err != nil {
		return ipsec.Stats{}, err
	}
	p.account(inv, p.now())
	s := ipsec.Stats{Drops: map[string]uint64{}}
	for _, e := range p.memory.peers {
		c := p.of(e.Name)
		ps := ipsec.PeerStats{Name: e.Name, RxBytes: c.rx.Bytes, RxPackets: c.rx.Packets, TxBytes: c.tx.Bytes, TxPackets: c.tx.Packets,
			LastRx: c.lastRx, Drops: map[string]uint64{}}
		for reason, n := range map[string]uint64{"no-sa": c.unsealed, "old": uint64(c.rx.Old), "replay": uint64(c.rx.Replay), "icv": uint64(c.rx.ICV)} {
			if n > 0 {
				ps.Drops[reason] = n
			}
		}
		s.Peers = append(s.Peers, ps)
	}
	slices.SortFunc(s.Peers, func(a, b ipsec.PeerStats) int { return strings.Compare(a.Name, b.Name) })
	drops, err := p.kernel.drops()
	if err != nil {
		return s, nil // a kernel without CONFIG_XFRM_STATISTICS
	}
	for name, n := range drops {
		if n > p.base[name] {
			s.Drops[reason(name)] = n - p.base[name]
		}
	}
	return s, nil
}

// reason translates the kernel's names that the userspace plane has a word for.
func reason(name string) string {
	switch name {
	case "XfrmInNoStates":
		return "unknown-spi"
	case "XfrmInHdrError", "XfrmInBufferError":
		return "short"
	}
	return name
}
