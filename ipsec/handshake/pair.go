package handshake

import (
	"net/netip"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

const (
	// rekeyAge is how old a pair gets before it is replaced, at most; up to rekeyJitter less, so that the many pairs of hosts
	// that were started together are not replaced together.
	rekeyAge    = time.Hour
	rekeyJitter = 6 * time.Minute
	// maxAge is how long a pair may be used for sending while no other can be made: a peer whose agent is away for an
	// upgrade goes on in its kernel. The inbound SA lives longer by oldGrace, because the other side counts from a later
	// moment at most.
	maxAge = 24 * time.Hour
	// pendingLife is how long a responder waits for the first packet on a new pair.
	pendingLife = 30 * time.Second
	// unconfirmedLife is how long after its init an initiator sends without having heard anything. It is below
	// pendingLife, and starts earlier, so that nothing is sent on an SA which the responder has given up.
	unconfirmedLife = 25 * time.Second
	// maxPending is how many unproven pairs of one peer a responder holds. The oldest goes when there are more. An
	// initiator sends five inits at most within unconfirmedLife; the rest is for some that arrive late.
	maxPending = 8
	// oldGrace is how long inbound SAs are kept once a packet has come in on a newer pair.
	oldGrace = 30 * time.Second
	// maxInbound bounds the inbound SAs of a peer without the pending ones.
	maxInbound = 4
)

// rank orders the pairs of two hosts, equally on both.
type rank struct {
	generation uint64
	smaller    bool // begun by the smaller host ID
}

func (r rank) above(o rank) bool {
	if r.generation != o.generation {
		return r.generation > o.generation
	}
	return r.smaller && !o.smaller
}

// pair is the two SAs of one handshake.
//
//	begun here:  made (may send) ── packet came in ──► confirmed
//	begun there: pending         ── packet came in ──► confirmed (may send)
//	             pending, confirmed ── bury ─────────► dead (whatever comes in on it was sent before the other's restart)
type pair struct {
	rank      rank
	in, out   ipsec.SA
	from      netip.AddrPort // where its init came from (begun there)
	target    netip.AddrPort // where its init was sent to, where the peer sees this host (begun there)
	began     time.Duration  // when its init was sent (begun here) or came in
	made      time.Duration  // when the response came (begun here)
	begunHere bool
	dead      bool          // the other side has forgotten it, and proved that
	confirmed bool          // a packet has come in on in
	mute      bool          // out has been erased and must not be used
	deaf      bool          // in has been erased and is no longer offered
	inUntil   time.Duration // when in goes
}

func (p *pair) pending() bool { return !p.begunHere && !p.confirmed && !p.dead }

// outUntil is when sending on the pair ends.
func (p *pair) outUntil() time.Duration {
	if p.begunHere && !p.confirmed {
		return p.began + unconfirmedLife
	}
	return p.began + maxAge
}

func (p *pair) silence() {
	p.mute = true
	p.out.Key.Wipe()
}

func (p *pair) deafen() {
	p.deaf = true
	p.in.Key.Wipe()
}
