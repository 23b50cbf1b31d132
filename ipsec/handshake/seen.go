package handshake

import "time"

const (
	// seenFor is how long an ephemeral key is remembered at least.
	seenFor = 60 * time.Second
	// maxSeen bounds one half of the memory. More than that many proven inits within seenFor can't come from real
	// peers; the oldest are then forgotten early.
	maxSeen = 4096
)

// seen remembers the ephemeral keys of the inits that were accepted in the last 60 to 120 s, so that a replay costs no
// computation. An older replay gets a pending SA, on which its sender can't send.
type seen struct {
	young, old map[[32]byte]struct{}
	rotate     time.Duration
}

func newSeen() seen {
	return seen{young: make(map[[32]byte]struct{}), old: make(map[[32]byte]struct{})}
}

// contains says whether key was added lately.
func (s *seen) contains(now time.Duration, key [32]byte) bool {
	s.expire(now)
	_, young := s.young[key]
	_, old := s.old[key]
	return young || old
}

// add remembers key.
func (s *seen) add(now time.Duration, key [32]byte) {
	s.expire(now)
	if len(s.young) >= maxSeen {
		s.turn(now)
	}
	s.young[key] = struct{}{}
}

// expire forgets what is old enough and returns when there will be more to forget.
func (s *seen) expire(now time.Duration) (next time.Duration) {
	for i := 0; i < 2 && now >= s.rotate; i++ {
		s.turn(max(now-seenFor, s.rotate))
	}
	if len(s.young)+len(s.old) == 0 {
		return never
	}
	return s.rotate
}

func (s *seen) turn(now time.Duration) {
	s.old, s.young = s.young, make(map[[32]byte]struct{})
	s.rotate = now + seenFor
}
