package store

import (
	"testing"
	"time"
)

// seats are members by letters: a voter A, a learner a; ! behind it: down for longer than the grace, ?: down for a moment,
// x: its host was removed, +: the learner has caught up, -: it had its time, *: its host is back without it. The first is self.
func seats(text string) []seat {
	var list []seat
	for _, r := range text {
		if r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' && r != 'x' {
			list = append(list, seat{host: string(r), learner: r >= 'a', self: len(list) == 0})
			continue
		}
		m := &list[len(list)-1]
		switch r {
		case '!':
			m.down = time.Hour
		case '?':
			m.down = time.Second
		case 'x':
			m.revoked = true
		case '+':
			m.ready = true
		case '-':
			m.age = time.Hour
		case '*':
			m.back = true
		}
	}
	return list
}

func TestTheNextMoveOfTheCouncil(t *testing.T) {
	for _, c := range []struct {
		seats      string
		candidates int
		size       int
		want       string
	}{
		{"A", 0, 3, ""}, {"A", 1, 3, ""}, {"A", 2, 3, "add"}, {"A", 9, 1, ""}, {"A", 4, 5, "add"},
		{"Ab", 1, 3, "add"}, {"Ab+", 0, 3, ""}, {"Ab+", 1, 3, "add"}, {"Ab+c", 5, 3, ""}, {"Ab+c+", 0, 3, "promote b"}, {"ABc+", 0, 3, "promote c"},
		{"Ab-c+", 1, 3, "remove b"}, {"Ab+-", 0, 3, ""}, {"Abx", 3, 3, "remove b"},
		{"ABC", 5, 3, ""}, {"ABC", 1, 5, ""}, {"ABC", 2, 5, "add"}, {"ABCd+e", 3, 5, ""}, {"ABCd+e+", 0, 5, "promote d"}, {"ABCDe+", 0, 5, "promote e"},
		// A dead one goes when there is another for it, and a quorum without it.
		{"ABC!", 0, 3, ""}, {"ABC?", 1, 3, ""}, {"ABC!", 1, 3, "remove C"}, {"ABC!*", 0, 3, "remove C"}, {"AB!C!", 1, 3, ""}, {"AB!", 1, 3, ""},
		{"AB", 1, 3, "add"}, {"AB", 0, 3, ""}, {"ABc", 1, 3, ""}, {"ABCD!E!", 1, 5, "remove D"}, {"ABC!", 1, 1, ""}, {"AB?c+", 1, 3, ""},
		// Removed hosts go at once, the one that leads last of all by handing over.
		{"ABCx", 0, 3, "remove C"}, {"ABC!x", 0, 3, "remove C"}, {"AxBC", 0, 3, "yield A"}, {"Ax", 3, 3, "add"}, {"ABx", 0, 3, "remove B"},
		{"AB!Cx", 0, 3, ""}, {"ABCx", 0, 1, "remove C"}, {"AxBx", 0, 3, "yield A"},
	} {
		s := situation{seats: seats(c.seats), candidates: make([]Host, c.candidates), size: c.size, grace: time.Minute, wait: time.Minute}
		m := s.next()
		got := string(m.act)
		if m.seat.host != "" {
			got += " " + m.seat.host
		}
		if got != c.want {
			t.Errorf("%s with %d candidates for %d: %q, want %q", c.seats, c.candidates, c.size, got, c.want)
		}
	}
}

// TestMovesComeToAnEnd: from any situation the moves lead to one without further moves, and never below a quorum.
func TestMovesComeToAnEnd(t *testing.T) {
	for _, start := range []string{"A", "Ab", "AB", "ABC", "ABC!", "AxBC", "ABCDE", "ABCD!E!", "ABxCx", "Abx"} {
		for candidates := range 6 {
			s := situation{seats: seats(start), candidates: make([]Host, candidates), size: 5, grace: time.Minute, wait: time.Minute}
			for n := 0; ; n++ {
				m := s.next()
				if m.act == "" {
					break
				}
				if n > 30 {
					t.Fatalf("%s with %d candidates: no end at %v", start, candidates, s.seats)
				}
				s.play(m)
				voters, up := 0, 0
				for _, m := range s.seats {
					if !m.learner {
						voters++
						if m.down == 0 {
							up++
						}
					}
				}
				if up < voters/2+1 {
					t.Fatalf("%s with %d candidates: no quorum after %v: %v", start, candidates, m, s.seats)
				}
			}
		}
	}
}

// play does to the situation what the move does, and lets learners catch up.
func (s *situation) play(m move) {
	for i := range s.seats {
		at := &s.seats[i]
		at.ready = at.learner
		if m.act == actAdd || at.host != m.seat.host {
			continue
		}
		switch m.act {
		case actPromote:
			at.learner, at.ready = false, false
		case actYield: // the next to lead sees itself as self
			at.self = false
			for j := range s.seats {
				if !s.seats[j].revoked {
					s.seats[j].self = true
					break
				}
			}
		case actRemove:
			at.host = ""
		}
	}
	var left []seat
	for _, at := range s.seats {
		if at.host != "" {
			left = append(left, at)
		}
	}
	if s.seats = left; m.act == actAdd {
		s.candidates = s.candidates[1:]
		s.seats = append(s.seats, seat{host: string(rune('n' + len(s.candidates))), learner: true, ready: true})
	}
}

func TestSpare(t *testing.T) {
	down := time.Unix(1, 0)
	for want, members := range map[int][]Member{
		-1: {{}, {Down: down}}, 0: {{}}, 1: {{}, {}, {}, {Learner: true}}, 2: {{}, {}, {}, {}, {}},
	} {
		if got := Spare(members); got != want {
			t.Errorf("%v: %d, want %d", members, got, want)
		}
	}
	if got := Spare([]Member{{}, {}, {Down: down}}); got != 0 {
		t.Errorf("one of three down: %d", got)
	}
}
