package xfrm

import (
	"slices"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// memory is what a Plane knows besides what the kernel lists.
type memory struct {
	set          bool // there has been a Set; before it nothing is changed
	config       ipsec.Config
	peers        []*peer // of config
	rounds       uint64  // how often they were resolved
	associations map[fingerprint]*association
	ids          map[string]uint32 // if_ids by host ID, once assigned
	byIfID       map[uint32]*peer
	used         map[uint32]bool      // if_ids, by whomever, at the last look
	refused      map[uint32]bool      // if_ids that the kernel did not give us
	promoted     map[string]bool      // peers without SAs whose turn has come to get a device
	proven       map[string]time.Time // by host ID, see peer
	left         map[stateKey]time.Time
	devices      map[string]bool // that are there, as of the last look
	stale        bool            // the routes may not be those of config
	failed       bool            // the last Set did, and none has been without fault since
	ailing       bool            // the last repair had errors
	lookEvery    time.Duration
}

func (m *memory) init() {
	m.associations, m.ids, m.byIfID = map[fingerprint]*association{}, map[string]uint32{}, map[uint32]*peer{}
	m.used, m.devices = map[uint32]bool{}, map[string]bool{}
	m.refused, m.promoted = map[uint32]bool{}, map[string]bool{}
	m.proven, m.left = map[string]time.Time{}, map[stateKey]time.Time{}
}

// take makes c the config. rekeyed are the peers whose SAs alone have changed, if nothing else has; else nil.
func (m *memory) take(c ipsec.Config) (rekeyed map[string]bool) {
	old := m.config
	m.config = c
	only := m.set && c.Router == old.Router && c.MTU == old.MTU && len(c.Peers) == len(old.Peers)
	for i := 0; only && i < len(c.Peers); i++ {
		p, q := &c.Peers[i], &old.Peers[i]
		only = p.Name == q.Name && p.Remote == q.Remote && p.Encap == q.Encap && p.MTU == q.MTU && slices.Equal(p.Prefixes, q.Prefixes)
		if !sameSAs(p, q) {
			if rekeyed == nil {
				rekeyed = map[string]bool{}
			}
			rekeyed[p.Name] = true
		}
	}
	m.set = true
	if !only || rekeyed == nil {
		m.stale = true // or it is the same again, to have it read back
		rekeyed = nil
	}
	names := map[string]bool{}
	for i := range c.Peers {
		names[c.Peers[i].Name] = true
	}
	for name := range m.promoted {
		if !names[name] {
			delete(m.promoted, name)
		}
	}
	for name := range m.ids {
		if !names[name] {
			delete(m.ids, name)
			delete(m.proven, name)
		}
	}
	return rekeyed
}

func sameSAs(p, q *ipsec.Peer) bool {
	if (p.Out == nil) != (q.Out == nil) || p.Out != nil && !sameSA(p.Out, q.Out) {
		return false
	}
	return slices.EqualFunc(p.In, q.In, func(a, b ipsec.SA) bool { return sameSA(&a, &b) })
}

func sameSA(a, b *ipsec.SA) bool { return a.SPI == b.SPI && a.Key == b.Key && a.Cipher == b.Cipher }

// each calls fn for every association of the config.
func (m *memory) each(fn func(*peer, *association)) {
	for _, e := range m.peers {
		for _, a := range e.in {
			fn(e, a)
		}
		if e.out != nil {
			fn(e, e.out)
		}
	}
}

// past gathers what wanted needs to know.
func (m *memory) past(inv inventory, now time.Time) past {
	p := past{own: map[stateKey]bool{}, left: m.left, inner: map[uint32][]stateKey{}, now: now}
	for _, a := range m.associations {
		if a.given {
			p.own[a.key] = true
		}
	}
	for k, s := range inv.States {
		p.inner[s.IfID] = append(p.inner[s.IfID], k)
	}
	// Since when is an outbound SA not sealed with any more?
	current := map[stateKey]bool{}
	for _, e := range m.peers {
		if e.out.usable() {
			current[e.out.key] = true
		} else if h, ok := inv.Policies[policyKey{out, e.ifID}]; ok {
			current[stateKey{h.Dst, h.SPI}] = true
		}
	}
	for k := range inv.States {
		if _, noted := m.left[k]; current[k] {
			delete(m.left, k)
		} else if !noted {
			m.left[k] = now
		}
	}
	for k := range m.left {
		if _, there := inv.States[k]; !there {
			delete(m.left, k)
		}
	}
	return p
}
