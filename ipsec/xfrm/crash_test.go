package xfrm

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
)

var errKilled = errors.New("killed")

// mortal is a kernel for one process, which ends at one of its changes and from then on changes nothing.
type mortal struct {
	*fakeKernel
	end     int  // the change at which it is killed, from 1 on; 0: none
	done    bool // it is killed when the change has taken effect and before the process knows; else before
	changes int
	dead    bool
}

func (m *mortal) change(do func() error) error {
	if m.dead {
		return errKilled
	}
	m.changes++
	m.dead = m.changes == m.end
	if m.dead && !m.done {
		return errKilled
	}
	if err := do(); !m.dead {
		return err
	}
	return errKilled
}

func (m *mortal) apply(steps []step, key func(stateKey) *ipsec.Key) []error {
	errs := make([]error, len(steps))
	for i, s := range steps {
		errs[i] = m.change(func() error { return m.fakeKernel.apply([]step{s}, key)[0] })
	}
	return errs
}

func (m *mortal) SetRoutes(want []link.Route) error {
	return m.change(func() error { return m.fakeKernel.SetRoutes(want) })
}

func (m *mortal) ChangeRoutes(add, del []link.Route) error {
	return m.change(func() error { return m.fakeKernel.ChangeRoutes(add, del) })
}

// crash goes through what happens to a plane, in a process that is killed, and ends with a kernel that is as it should be. After
// each change no packet leaves for another host than its own: fakeKernel looks.
func crash(t *testing.T, end int, done bool) (changes int) {
	t.Helper()
	_, k := newFake(t)
	process := &mortal{fakeKernel: k, end: end, done: done}
	p := newPlane(process, process, []netip.Addr{us}, ourPort, quiet())
	defer func() { _ = p.Close() }()
	m := newMesh(k, 0, 1, 2)
	for _, happens := range []func(){
		func() { m.rekey(0); m.rekey(1); m.rekey(2) },
		func() { m.rekey(1) },
		func() { m.further = map[int]int{10: 0, 11: 1} },
		func() { m.further = map[int]int{11: 1, 12: 2}; m.rekey(0) },
		func() { m.further = map[int]int{11: 1}; delete(m.peers, 2) },
		func() { m.peers[3] = [2]ipsec.SPI{}; m.rekey(3) },
	} {
		happens()
		for range 10 {
			err := p.Set(context.Background(), m.config())
			if process.dead {
				_ = p.Close()
				process = &mortal{fakeKernel: k}
				p = newPlane(process, process, []netip.Addr{us}, ourPort, quiet())
				// It knows no SAs; peers are reached by what is there until there are new ones.
				was := m.peers
				m.peers = map[int][2]ipsec.SPI{}
				for i := range was {
					m.peers[i] = [2]ipsec.SPI{}
				}
				m.settle(p)
				for i := range m.peers {
					m.rekey(i)
				}
				continue
			}
			if !m.heed(p) && err == nil {
				break
			}
		}
	}
	changes = process.changes
	m.whole(p)
	before := process.changes
	if err := p.Set(t.Context(), m.config()); err != nil {
		t.Error(err)
	}
	if n := process.changes - before; n > 1 { // the routes are given each time
		t.Errorf("%d changes in a further round", n)
	}
	return changes
}

// TestCrashPoints kills a process at each step of its plane, before it and after its effect. The next one adopts what is there.
func TestCrashPoints(t *testing.T) {
	n := crash(t, 0, false)
	t.Logf("figure: %d crash points of the kernel plane, each before and after its effect", n)
	if n < 30 {
		t.Errorf("only %d points", n)
	}
	for end := 1; end <= n; end++ {
		for _, done := range []bool{false, true} {
			if crash(t, end, done); t.Failed() {
				t.Fatalf("killed at change %d, %v", end, done)
			}
		}
	}
}
