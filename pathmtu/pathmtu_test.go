package pathmtu

import (
	"math/rand/v2"
	"testing"
	"time"
)

// path carries packets of up to mtu bytes and loses a share of all.
type path struct {
	mtu  int
	loss float64
	dead bool
	rand *rand.Rand
}

// run ticks s over the path until it has settled or until ends, and gives the time.
func (p path) run(s *Search, now, until time.Duration) time.Duration {
	for now < until {
		probes, next := s.Tick(now)
		for _, size := range probes {
			if size <= p.mtu && !p.dead && (p.loss == 0 || p.rand.Float64() >= p.loss) {
				s.Answered(size)
			}
		}
		now = next
	}
	return now
}

func TestFindsThePathsMTUWithinSeconds(t *testing.T) {
	for _, c := range []struct{ max, path int }{
		{1438, 1438}, {1438, 1338}, {1438, 1337}, {1438, 1000}, {1438, 577}, {8938, 8938}, {8938, 1438}, {8938, 5001}, {1438, 9000}, {600, 590},
	} {
		s := New(c.max)
		if s.MTU() != c.max {
			t.Error("before the first answers the maximum is assumed")
		}
		path{mtu: c.path}.run(s, 0, 8*Wait)
		want := min(c.max, c.path)
		if got := s.MTU(); got > want || got < want-exact || !s.Settled() {
			t.Errorf("max %d, path %d: %d, settled %v", c.max, c.path, got, s.Settled())
		}
	}
}

func TestNeverAboveThePathAfterLossOfAnyKind(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		max := Min + r.IntN(9000)
		p := path{mtu: Min + r.IntN(max-Min+1), loss: r.Float64() * 0.5, rand: r}
		s := New(max)
		p.run(s, 0, 60*time.Second)
		if s.Settled() && s.MTU() > p.mtu {
			t.Fatalf("seed %d: %d on a path of %d", seed, s.MTU(), p.mtu)
		}
	}
}

// TestLossDoesNotNarrow: an MTU that was found is not given up for a few lost packets, whichever they are: here, all of two
// rounds in a row, or the large ones of two.
func TestLossDoesNotNarrow(t *testing.T) {
	for from := range 400 {
		for _, least := range []int{0, Probe} {
			s := New(1438)
			now := path{mtu: 1438}.run(s, 0, 10*time.Second)
			for i := 0; now < Raise+time.Minute; i++ {
				probes, next := s.Tick(now)
				for _, size := range probes {
					if size <= least || i < from || i >= from+2 {
						s.Answered(size)
					}
				}
				if now = next; s.MTU() != 1438 {
					t.Fatalf("%d after losses in rounds %d and %d", s.MTU(), from, from+1)
				}
			}
		}
	}
}

// TestNarrowedPathIsFoundAtOnce: TCP's retransmissions come rarely after ten seconds; then the MTU must be known.
func TestNarrowedPathIsFoundAtOnce(t *testing.T) {
	for start := 10 * time.Second; start < 10*time.Second+Validate+Wait; start += Wait / 4 {
		s := New(1438)
		now := path{mtu: 1438}.run(s, 0, start)
		path{mtu: 1338}.run(s, now, start+Validate+3*Wait+1)
		if s.MTU() != 1338 {
			t.Errorf("narrowed at %v: still %d after %v", start, s.MTU(), Validate+3*Wait)
		}
	}
}

func TestPathThatNarrowsAndWidens(t *testing.T) {
	s := New(1438)
	now := path{mtu: 1438}.run(s, 0, 30*time.Second)
	now = path{mtu: 1338}.run(s, now, now+30*time.Second)
	if s.MTU() > 1338 || s.MTU() < 1338-exact {
		t.Errorf("narrowed to 1338: %d", s.MTU())
	}
	path{mtu: 1438}.run(s, now, now+Raise+30*time.Second)
	if s.MTU() != 1438 {
		t.Errorf("widened to 1438: %d", s.MTU())
	}
}

func TestSilenceSaysNothingAboutSizes(t *testing.T) {
	s := New(1438)
	now := path{dead: true}.run(s, 0, time.Minute)
	if s.MTU() != 1438 {
		t.Errorf("a dead tunnel: %d", s.MTU())
	}
	now = path{mtu: 1338}.run(s, now, now+Raise+10*time.Second)
	if s.MTU() > 1338 {
		t.Errorf("then alive at 1338: %d", s.MTU())
	}
	was := s.MTU()
	path{dead: true}.run(s, now, now+time.Hour)
	if s.MTU() != was {
		t.Errorf("dead again: %d, was %d", s.MTU(), was)
	}
}

func TestOnlyTheSmallestPasses(t *testing.T) {
	s := New(1438)
	path{mtu: 100}.run(s, 0, 10*time.Second)
	if s.MTU() != Min {
		t.Error(s.MTU())
	}
}

func TestMaxChanges(t *testing.T) {
	s := New(8938)
	now := path{mtu: 8938}.run(s, 0, 10*time.Second)
	s.SetMax(now, 1438)
	if s.MTU() != 1438 {
		t.Error("the smaller maximum holds at once:", s.MTU())
	}
	s.SetMax(now, 8938)
	path{mtu: 8938}.run(s, now, now+10*time.Second)
	if s.MTU() != 8938 {
		t.Error(s.MTU())
	}
}

func TestASettledSearchIsQuiet(t *testing.T) {
	s := New(1438)
	sent := 0
	for now := time.Duration(0); now < Raise; {
		probes, next := s.Tick(now)
		for _, size := range probes {
			s.Answered(size)
		}
		sent += len(probes)
		if next <= now {
			t.Fatal("no progress in time")
		}
		now = next
	}
	if want := 2*int(Raise/Validate) + 20; sent > want {
		t.Errorf("%d probes in %v, want at most %d", sent, Raise, want)
	}
}

// TestACutInTheMiddleOfASearch: a tunnel that is cut between two probes of the first burst, or between two rounds, has not become
// narrower; what a search was short of then is found out within seconds, not at the next look for a larger value.
func TestACutInTheMiddleOfASearch(t *testing.T) {
	for _, mtu := range []int{1438, 1400, 1337} {
		for first := range 20 { // probes of the first burst that are lost: the larger ones
			for silent := 1; silent < 6; silent++ { // rounds after it without any answer
				s := New(1438)
				now := time.Duration(0)
				for round := 0; round <= silent; round++ {
					probes, next := s.Tick(now)
					for i, size := range probes {
						if round == 0 && i >= first && size <= mtu {
							s.Answered(size)
						}
					}
					now = next
				}
				path{mtu: mtu}.run(s, now, now+20*time.Second)
				if got := s.MTU(); got > mtu || got < mtu-exact || !s.Settled() {
					t.Errorf("path %d, %d probes lost, %d rounds silent: %d, settled %v", mtu, first, silent, got, s.Settled())
				}
			}
		}
	}
}
