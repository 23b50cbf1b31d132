package handshake

import (
	"net/netip"
	"slices"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// probeTimes are when, after the answer, a packet is asked for that proves the new pair.
var probeTimes = [...]time.Duration{0, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}

// peer is what the machine holds about another host.
//
// Invariants: pairs is sorted, the highest rank first; out is nil or in pairs, neither mute nor pending, and no pair below
// it may be sent on; at most one handshake of ours is outstanding.
type peer struct {
	Peer
	smaller bool // this host has the smaller host ID
	pairs   []*pair
	out     *pair
	init    *initiation
	at      netip.AddrPort // where its last authentic packet came from; invalid: nothing came since its fact changed

	generation uint64        // highest one known
	startAt    time.Duration // when the next init is due
	probeAt    time.Duration // when the next probe is due
	probes     int           // sent for out
	unknownAt  time.Duration // before this, unknown SPIs start nothing
	searchAt   time.Duration // before this, another address of the peer starts nothing
	tried      time.Duration // when the last init was sent
	shortened  bool          // a handshake has looked for a shorter way than the one in use
	keepAt     time.Duration // when the next keepalive is due; never: there is no NAT between

	cookie      []byte        // that the peer has asked for; nil: none
	cookieUntil time.Duration // when the cookie is too old

	attempts int            // inits sent since the last success
	observed netip.AddrPort // of this host, as the peer sees it; invalid: not known
	note     string         // what went wrong last
}

// begins says whether all facts for a handshake are there.
func (p *peer) begins() bool { return p.Public != [32]byte{} && p.remote().IsValid() }

// remote is where the peer is, as far as is known.
func (p *peer) remote() netip.AddrPort {
	if p.at.IsValid() {
		return p.at
	}
	return p.Remote
}

// insert adds a pair and keeps the bounds; it returns the pairs that had to go.
func (p *peer) insert(pr *pair) (gone []*pair) {
	at, _ := slices.BinarySearchFunc(p.pairs, pr, func(a, b *pair) int {
		if a.rank.above(b.rank) {
			return -1
		}
		return 1
	})
	p.pairs = slices.Insert(p.pairs, at, pr)
	p.generation = max(p.generation, pr.rank.generation)
	return append(p.overflow(maxPending, (*pair).pending),
		p.overflow(maxInbound, func(q *pair) bool { return !q.pending() })...)
}

// find returns the pair with an inbound SA.
func (p *peer) find(in ipsec.SPI) *pair {
	for _, q := range p.pairs {
		if q.in.SPI == in && !q.deaf {
			return q
		}
	}
	return nil
}

// overflow removes the lowest pairs of a kind beyond limit, but neither the one in use nor the one that the other side is
// known to have sent on last.
func (p *peer) overflow(limit int, kind func(*pair) bool) (gone []*pair) {
	var theirs *pair
	if i := slices.IndexFunc(p.pairs, func(q *pair) bool { return q.confirmed }); i >= 0 {
		theirs = p.pairs[i]
	}
	n := 0
	p.pairs = slices.DeleteFunc(p.pairs, func(q *pair) bool {
		if kind(q) {
			n++
		}
		if !kind(q) || n <= limit || q == p.out || q == theirs {
			return false
		}
		gone = append(gone, q)
		return true
	})
	return gone
}

// adopt makes pr the pair that is sent on, for good: all lower ones are silenced.
func (p *peer) adopt(pr *pair) {
	p.out = pr
	for _, q := range p.pairs {
		if pr.rank.above(q.rank) {
			q.silence()
		}
	}
}

// confirm notes that a packet has come in on pr: the other side sends on it, and never again on a lower one.
func (p *peer) confirm(now time.Duration, pr *pair) {
	if pr.confirmed {
		return
	}
	pr.confirmed = true
	pr.inUntil = pr.began + maxAge + 2*oldGrace
	p.bury(now, pr)
	above := false
	for _, q := range p.pairs {
		if q != pr && q.confirmed && !q.dead && q.rank.above(pr.rank) {
			above = true
		}
		if pr.rank.above(q.rank) || q == pr && above {
			q.inUntil = min(q.inUntil, now+oldGrace)
		}
	}
}

// bury takes the pairs that the other side began, and that were here before pr was made, out of use: on pr, which this host
// began, a packet has come in, so the other side has opened one of ours that was sent since. At that moment it had no init
// outstanding and no higher pair, so whatever higher ones it began before were lost in a restart, and packets on them that
// still come in are from before it. Without this they would put this host back on a pair that the other one has forgotten.
func (p *peer) bury(now time.Duration, pr *pair) {
	for _, q := range p.pairs {
		if !pr.begunHere || q.begunHere || q.began >= pr.made || !q.rank.above(pr.rank) {
			continue
		}
		q.dead = true
		q.silence()
		q.inUntil = min(q.inUntil, now+oldGrace)
		if q == p.out {
			p.giveUpOut(now)
		}
	}
}

// rekeyAt is when the handshake that replaces pr begins: the smaller host ID first. Both hosts have drawn half of the
// jitter, so it is the same for both, and which of them is first does not depend on it.
func (p *peer) rekeyAt(pr *pair) time.Duration {
	jitter := rekeyJitter * time.Duration((pr.in.SPI^pr.out.SPI)>>16) >> 16
	at := pr.began + rekeyAge - jitter
	if !p.smaller {
		at += secondDelay
	}
	return at
}

// expire removes what has reached its end and returns the removed pairs.
func (p *peer) expire(now time.Duration) (changed bool, gone []*pair) {
	if p.out != nil && p.out.outUntil() <= now {
		p.giveUpOut(now)
		changed = true
	}
	p.pairs = slices.DeleteFunc(p.pairs, func(q *pair) bool {
		if q.inUntil > now && !(q.deaf && q.mute) {
			return false
		}
		if q == p.out {
			p.giveUpOut(now)
		}
		gone = append(gone, q)
		return true
	})
	return changed || len(gone) > 0, gone
}

// giveUpOut leaves the peer without a pair to send on, which begins a handshake.
func (p *peer) giveUpOut(now time.Duration) {
	p.out.silence()
	p.out, p.probeAt = nil, never
	p.startAt = min(p.startAt, now)
}

// next is when something is due.
func (p *peer) next() time.Duration {
	next := min(p.startAt, p.probeAt, p.keepAt)
	if !p.begins() {
		next = min(p.probeAt, p.keepAt)
	}
	if p.out != nil {
		next = min(next, p.out.outUntil())
	}
	for _, q := range p.pairs {
		next = min(next, q.inUntil)
	}
	return next
}

// sas is what the data plane must carry for the peer.
func (p *peer) sas() (set ipsec.SASet) {
	for _, q := range p.pairs {
		if !q.deaf {
			set.In = append(set.In, q.in)
		}
	}
	if p.out != nil {
		out := p.out.out
		set.Out = &out
	}
	set.Remote = p.at
	return set
}
