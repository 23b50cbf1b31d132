// Package pathmtu finds the largest inner packet that reaches a peer, by asking the peer (the idea of RFC 8899, packetization
// layer path MTU discovery): echo requests of several sizes go through the tunnel with DF set, and the largest one that is
// answered is the path's MTU. It does not depend on ICMP from the underlay, which firewalls drop and attackers forge, and
// is the same for every data plane. It does no I/O and has no clock of its own.
//
//	          Max answered ─────────────────────────────┐
//	Searching ── largest answered, next one not ─► refine ─► Settled ── validation lost ─► Searching
//	    ▲                                                        │
//	    └──────────────── every Raise: maybe it is larger now ───┘
//
// An MTU that was found stays in force until a search has missed it twice more: with the validation that is three losses in a
// row, while smaller packets of the same second arrive. A round without any answer says nothing about sizes: a search that is
// cut short by one begins again.
package pathmtu

import (
	"slices"
	"time"
)

// The times of a search. All are long against a round trip and short against a user's patience.
const (
	Wait     = time.Second      // for the answers to one round of probes
	Validate = 5 * time.Second  // between checks of a settled MTU
	Raise    = 10 * time.Minute // between looks for a larger one
)

const (
	// Min is the smallest MTU that is ever reported: every IPv4 link carries it in practice (RFC 791 has 68, RFC 1122, section
	// 3.3.2 lets hosts assume 576).
	Min = 576
	// Probe is the smallest probe, in bytes: what tells a dead tunnel from one that only loses large packets.
	Probe = 84
	// tries is after how many rounds without an answer a tunnel is dead, not narrow, and after how many with an answer to Probe
	// only it is very narrow.
	tries = 3
	// exact is how close the answer has to be, in bytes.
	exact = 8
)

// steps are inner sizes below common underlay MTUs (9000, 1500, 1492, 1480, 1460, 1450, 1420, 1400, 1350, 1300, 1280, 1200, …),
// so that one round finds most paths.
var steps = []int{8938, 4000, 2000, 1438, 1430, 1418, 1398, 1388, 1358, 1338, 1288, 1238, 1218, 1138, 938, Min}

// Search is the search for one peer's path MTU. Sizes are of whole inner IP packets, in bytes. Not safe for concurrent
// use. All times are since one common, monotonic zero.
type Search struct {
	max, mtu int
	known    bool // mtu was found by a search, and is not just max
	settled  bool
	lost     int           // rounds in a row without any answer, or with one to Probe only
	due      time.Duration // of the next round
	raise    time.Duration // of the next look for a larger value
	asked    []int         // sizes of the round under way, descending
	again    bool          // they were asked before, and not answered
	heard    bool          // something has been answered since they were asked
	best     int           // the largest size that was answered in this search
	fails    int           // the smallest size above best that was not answered in this search; 0: before the first judgement
}

// New begins a search for a path that can't carry more than max. Until the first answers MTU is max.
func New(max int) *Search { return &Search{max: max, mtu: max} }

// MTU is the best knowledge of now.
func (s *Search) MTU() int { return s.mtu }

// Settled tells whether a search has ended since the last change.
func (s *Search) Settled() bool { return s.settled }

// SetMax changes what the path can carry at most: the underlay's MTU of one of the hosts has changed.
func (s *Search) SetMax(now time.Duration, max int) {
	if max == s.max {
		return
	}
	s.max, s.mtu, s.known = max, min(s.mtu, max), false
	s.restart(now)
}

func (s *Search) restart(now time.Duration) {
	s.settled, s.lost, s.asked, s.again, s.best, s.fails, s.due = false, 0, nil, false, 0, 0, now
}

// Answered takes the answer to a probe of the given size.
func (s *Search) Answered(size int) {
	s.heard = true
	if size <= s.max {
		s.best = max(s.best, size)
	}
}

// Tick judges the round that has ended, if one has, and returns the sizes to probe now, descending, and when to call
// again at the latest.
func (s *Search) Tick(now time.Duration) (probes []int, next time.Duration) {
	if now < s.due {
		return nil, s.due
	}
	if s.asked != nil {
		if s.repeat() {
			s.heard, s.due = false, now+Wait
			return s.asked, s.due
		}
		s.judge(now)
		s.asked, s.again = nil, false
		// A dead tunnel is asked as rarely as a settled one.
		if s.settled || s.lost >= tries && s.best == 0 {
			s.due = now + Validate - Wait
			return nil, s.due
		}
	}
	if s.settled && now >= s.raise {
		s.restart(now)
	}
	s.asked = s.round()
	if s.settled || s.fails == 0 {
		s.best = 0 // a new question; a refinement goes on from what it knows
	}
	s.heard, s.due = false, now+Wait
	return s.asked, s.due
}

// repeat gives the sizes of a search's first round that were not answered a second chance: losing one packet of all must not
// look like a narrow path. Where nothing is known it takes what there is meanwhile.
func (s *Search) repeat() bool {
	if s.settled || s.fails != 0 || s.again || s.best == 0 || s.best == s.max {
		return false
	}
	if !s.known && s.best >= Min {
		s.mtu = s.best
	}
	s.again = true
	s.asked = slices.DeleteFunc(s.asked, func(size int) bool { return size <= s.best && size != Probe })
	return true
}

// round gives the sizes of the next round.
func (s *Search) round() []int {
	switch {
	case s.settled:
		return []int{s.mtu, Probe}
	case s.lost >= tries && s.best == 0: // dead: is it still?
		return []int{Probe}
	case s.fails == 0: // the first of a search: all steps
		sizes := []int{s.max}
		for _, step := range steps {
			if step < s.max {
				sizes = append(sizes, step)
			}
		}
		return append(sizes, Probe)
	}
	// Four sizes between the largest that passes and the smallest that does not.
	sizes := []int{}
	for i := 4; i >= 1; i-- {
		sizes = append(sizes, s.best+(s.fails-s.best)*i/5)
	}
	return slices.Compact(append(sizes, s.best))
}

// judge ends a round.
func (s *Search) judge(now time.Duration) {
	switch {
	case s.settled && s.best < s.mtu && s.best > 0:
		s.restart(now)
	case s.settled: // it passes; or nothing does, which says nothing about sizes
	case s.best == 0:
		s.lost = min(s.lost+1, tries)
	case !s.heard: // in the middle of a search, which what was asked then would narrow for nothing
		s.restart(now)
		s.lost = 1
	case len(s.asked) == 1: // a dead tunnel has come to life
		s.restart(now)
	case s.best < Min && s.fails == 0:
		if s.lost++; s.lost >= tries {
			s.mtu = Min
			s.settle(now)
		}
	default:
		s.found(now)
	}
}

// found takes the largest size that was answered, and looks at what is next to it.
func (s *Search) found(now time.Duration) {
	s.fails = s.max + 1
	for _, size := range s.asked {
		if size > s.best {
			s.fails = size
		}
	}
	s.mtu, s.known, s.lost = s.best, true, 0
	if s.best == s.max || s.fails-s.best <= exact {
		s.settle(now)
	}
}

func (s *Search) settle(now time.Duration) {
	s.settled, s.lost, s.fails = true, 0, 0
	s.raise = now + Raise
}
