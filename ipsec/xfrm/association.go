package xfrm

import (
	"crypto/sha256"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// stage is how far an association has come. There is no way back: an SA that may have sealed or opened a packet is never
// given to the kernel again, which would count from 1 again, use a nonce twice and take replayed packets for new.
type stage uint8

const (
	fresh     stage = iota // not given to the kernel yet
	tried                  // given, but the answer is missing
	installed              // in the kernel
	spent                  // was there and is gone or changed, or can't be there
)

// association is an SA of the Config, as far as the kernel has it.
type association struct {
	peer      string
	out       bool
	key       stateKey
	state     state // as it is, or is to be, in the kernel
	secret    *ipsec.Key
	stage     stage
	given     bool      // the kernel may have had it
	since     time.Time // installed
	confirmed bool      // the event has been sent
	outdated  bool      // the peer is elsewhere, or speaks another encapsulation, than when it was installed
	limit     bool      // it has sealed as many packets as it may
	soft      bool      // it has been reported that it is due to be replaced
	told      time.Time // when its limit was last reported
	moved     time.Time // when it was last reported that the peer is elsewhere
	seen      time.Time // last in a Config
	round     uint64    // likewise, as resolve counts
}

// fingerprint stands for an SA's key and direction without being one.
type fingerprint [sha256.Size]byte

func fingerprintOf(out bool, k *ipsec.Key) fingerprint {
	direction := byte('i')
	if out {
		direction = 'o'
	}
	return sha256.Sum256(append([]byte{direction}, k.Bytes[:]...))
}

const (
	// keepSpent is how long an SA is remembered that no Config has any more. No key lives longer.
	keepSpent = 48 * time.Hour
	// tellAgain is after what time the limit of an SA is reported again that still is in the Config.
	tellAgain = 5 * time.Second
	// moveAgain is likewise for a peer that is elsewhere than the Config says.
	moveAgain = time.Second
	// confirmWithin is how long after its installation an SA's first packet is waited for closely.
	confirmWithin = time.Minute
)

// usable tells whether the SA is, or can become, the kernel's.
func (a *association) usable() bool { return a != nil && a.stage != spent }

// pending tells whether its first packet should be seen soon.
func (a *association) pending(now time.Time) bool {
	return !a.out && a.stage == installed && !a.confirmed && now.Sub(a.since) < confirmWithin
}

// meet compares the association with what the kernel lists under its key. ifID is the peer's now, and now the state that
// a new one would get.
func (a *association) meet(k stateKey, s state, have map[stateKey]state) {
	if a.stage == fresh {
		a.key, a.state = k, s
	}
	h, there := have[a.key]
	switch a.stage {
	case fresh:
		if there { // a remainder with the same SPI, whose key can't be known
			a.stage = spent
		}
	case tried, installed:
		a.stage = installed
		if !there || h != a.state || a.state.IfID != s.IfID {
			a.stage = spent
		}
	}
	if !a.out { // wherever its packets come from, the kernel takes them
		s.Src = a.state.Src
		if s.SrcPort != 0 && a.state.SrcPort != 0 {
			s.SrcPort = a.state.SrcPort
		}
	}
	a.outdated = a.key != k || a.state != s
}

// over tells whether the handshake must replace it.
func (a *association) over() bool { return a.stage == spent || a.outdated || a.limit }
