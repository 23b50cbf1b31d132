package store

import "time"

// seat is one member as the Council sees it.
type seat struct {
	id      uint64 // etcd's number
	host    string // empty: of no known host
	self    bool
	learner bool
	ready   bool          // a learner that has caught up
	revoked bool          // its host was removed from the environment
	back    bool          // its host lives, and could be a member
	down    time.Duration // for how long it has not answered; 0: it does
	age     time.Duration // of a learner
}

// situation is all that the Council's next move depends on.
type situation struct {
	seats      []seat
	candidates []Host // that could become members, the first to be first
	size       int    // how many members there are to be
	grace      time.Duration
	wait       time.Duration // what a learner gets
}

// action is what to do with a member.
type action string

const (
	actRemove  action = "remove"
	actPromote action = "promote"
	actAdd     action = "add"
	actYield   action = "yield" // hand the lead over, for this member is to go
)

// move is one change of the members; zero: none.
type move struct {
	act  action
	seat seat // which
	host Host // to be added
	why  string
}

// next is the one change to make now. There is only one at a time, and none that leaves less than a quorum of those with a vote up.
func (s situation) next() move {
	var voters, learners []seat
	ready, up := 0, 0
	for _, m := range s.seats {
		switch {
		case m.learner && m.revoked:
			return move{act: actRemove, seat: m, why: "its host was removed from the environment"}
		case m.learner && !m.ready && m.age > s.wait:
			return move{act: actRemove, seat: m, why: "it did not catch up: do the members reach its ETCD_PEER_PORT?"}
		case m.learner:
			learners = append(learners, m)
			if m.ready {
				ready++
			}
		default:
			voters = append(voters, m)
			if m.down == 0 {
				up++
			}
		}
	}
	if up < len(voters)/2+1 {
		return move{} // nothing can be changed
	}
	without := func(m seat) bool { // the others are a quorum of themselves
		rest := up
		if m.down == 0 {
			rest--
		}
		return rest >= (len(voters)-1)/2+1
	}
	for _, m := range voters {
		if m.revoked && without(m) {
			if m.self {
				return move{act: actYield, seat: m, why: "its host was removed from the environment"}
			}
			return move{act: actRemove, seat: m, why: "its host was removed from the environment"}
		}
	}
	for _, m := range voters {
		if s.size > 1 && m.down > s.grace && (len(s.candidates) > 0 || m.back) && without(m) {
			return move{act: actRemove, seat: m, why: "it is dead, and there is another host for it"}
		}
	}
	if up < len(voters) {
		return move{}
	}
	// Votes are given in pairs where they can be: two members survive no loss, just as one.
	if len(voters)%2 == 0 && ready > 0 || ready > 1 {
		for _, m := range learners {
			if m.ready {
				return move{act: actPromote, seat: m, why: "it has caught up"}
			}
		}
	}
	have := len(voters) + len(learners)
	want := min(s.size, have+len(s.candidates))
	if want%2 == 0 {
		want--
	}
	if have < want && len(learners) < maxLearners {
		return move{act: actAdd, host: s.candidates[0], why: "there are to be more members"}
	}
	return move{}
}
