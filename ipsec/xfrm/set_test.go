package xfrm

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/ipsec"
)

// scenario goes through what happens to a plane, and ends with a kernel that is as it should be.
func scenario(t *testing.T, failAt int, how fault) (calls int) {
	t.Helper()
	p, k := newFake(t)
	k.failAt, k.how = failAt, how
	m := newMesh(k, 0, 1, 2)
	for i := range 3 {
		m.rekey(i)
	}
	m.settle(p)
	m.rekey(1)
	m.settle(p)
	for _, m.further = range []map[int]int{{10: 0, 11: 1}, {10: 1, 11: 1, 12: 2}, {12: 0}, nil} {
		m.settle(p)
	}
	delete(m.peers, 2)
	m.peers[3] = [2]ipsec.SPI{}
	m.rekey(3)
	m.settle(p)
	// Another process, which knows no SAs at first.
	_ = p.Close()
	p = k.plane()
	was := m.peers
	m.peers = map[int][2]ipsec.SPI{0: {}, 1: {}, 3: {}}
	m.settle(p)
	for i := range was {
		if !k.sealed(endpoint(i)) {
			t.Errorf("peer %d can't be reached after the restart", i)
		}
		m.rekey(i)
	}
	m.settle(p)
	m.whole(p)
	return k.calls
}

func TestEachCallFailsOnce(t *testing.T) {
	calls := scenario(t, noFault, 0)
	if calls < 50 {
		t.Fatalf("%d calls only", calls)
	}
	for n := range calls {
		for how := range faults {
			if scenario(t, n+1, how); t.Failed() {
				t.Fatalf("when call %d fails, in way %d", n+1, how)
			}
		}
	}
}

func TestTheSameAgainIsNoWork(t *testing.T) {
	p, k := newFake(t)
	m := newMesh(k, 0, 1)
	m.rekey(0)
	m.rekey(1)
	m.settle(p)
	before := k.calls
	m.settle(p)
	if n := k.calls - before; n != 3 { // a list, and the routes'
		t.Errorf("%d calls", n)
	}
}

// An endpoint more, less or elsewhere costs its route: nothing is listed, not even for a peer that has no device yet.
func TestPrefixesAloneAreNotLookedFor(t *testing.T) {
	p, k := newFake(t)
	m := newMesh(k, 0, 1, 2)
	m.rekey(0)
	m.rekey(1)
	m.settle(p)
	for _, m.further = range []map[int]int{{10: 0, 11: 1, 13: 2}, {10: 1, 11: 1}, {10: 2, 12: 0}, {12: 0}} {
		before := k.calls
		if err := p.Set(t.Context(), m.config()); err != nil || k.calls != before+1 {
			t.Errorf("%d calls, %v", k.calls-before, err)
		}
		for e, i := range m.further {
			if r, there := k.routes[endpoint(e)]; there != (i != 2) || there && r.Dev != deviceName(peerName(i), false) {
				t.Errorf("endpoint %d of peer %d is routed by %v", e, i, r)
			}
		}
		if len(k.routes) > 2+len(m.further) {
			t.Errorf("left behind: %v", k.routes)
		}
	}
	// What fails is looked for by the next, and so is what is amiss.
	m.further = map[int]int{10: 0}
	k.failAt, k.how = k.calls+1, refuses
	if err := p.Set(t.Context(), m.config()); err == nil {
		t.Error("the kernel refuses, and Set does not")
	}
	m.rekey(2)
	m.whole(p)
	p.stale = true
	lists := k.lists
	m.further = map[int]int{11: 0}
	if err := p.Set(t.Context(), m.config()); err != nil || k.lists == lists {
		t.Errorf("%v, and the routes were not listed", err)
	}
	m.whole(p)
}

func TestRekeyLeavesTheRoutesAlone(t *testing.T) {
	p, k := newFake(t)
	m := newMesh(k, 0, 1)
	m.rekey(0)
	m.rekey(1)
	m.settle(p)
	lists := k.lists
	p.stale = true // and even if something is wrong with them
	m.rekey(0)
	m.settle(p)
	if k.lists != lists {
		t.Error("the routes were listed")
	}
	m.whole(p)
	if k.lists == lists {
		t.Error("the routes were not listed when nothing else was new")
	}
}

// A rekey does not fail for another peer's trouble.
func TestRekeyFailsOnlyForItsPeer(t *testing.T) {
	p, k := newFake(t)
	m := newMesh(k, 0, 1)
	m.rekey(0)
	m.rekey(1)
	m.settle(p)
	for want, i := range map[bool]int{true: 1, false: 0} {
		delete(k.Policies, policyKey{fwd, p.ids[peerName(1)]}) // the first step: its repair fails
		m.rekey(i)
		k.failAt, k.how = k.calls+2, refuses
		if i == 0 { // two SAs come first
			k.failAt += 2
		}
		if err := p.Set(t.Context(), m.config()); (err != nil) != want {
			t.Errorf("rekey of peer %d: %v", i, err)
		}
		m.settle(p)
	}
	m.whole(p)
}

// What can't be installed is an error, also when nothing but SAs is new.
func TestUnusableSA(t *testing.T) {
	p, k := newFake(t)
	m := newMesh(k, 0, 1)
	m.settle(p)
	c := m.config()
	bad, unknown := sa(255, ipsec.AES256GCM), sa(0x9999, 7)
	c.Peers[0].In, c.Peers[1].Out = []ipsec.SA{bad}, &unknown
	err := p.Set(t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), peerName(0)+": inbound SA 0x000000ff") || !strings.Contains(err.Error(), peerName(1)+": outbound SA 0x00009999") {
		t.Error(err)
	}
	if len(k.States) > 0 {
		t.Errorf("installed: %v", k.States)
	}
}

func TestSPIInUseAsksForAnother(t *testing.T) {
	p, k := newFake(t)
	m := newMesh(k, 0)
	m.rekey(0)
	k.theirs[stateKey{us, firstSPI}] = true
	if err := p.Set(t.Context(), m.config()); !errors.Is(err, unix.EEXIST) {
		t.Error(err)
	}
	if err := p.Set(t.Context(), m.config()); err != nil {
		t.Error(err)
	}
	if !m.heed(p) {
		t.Error("no new SPI was asked for")
	}
	m.whole(p)
}

func TestFlushedSAIsNeverInstalledAgain(t *testing.T) {
	p, k := newFake(t)
	m := newMesh(k, 0, 1)
	m.rekey(0)
	m.rekey(1)
	m.settle(p)
	clear(k.States)
	if err := p.Set(t.Context(), m.config()); err != nil {
		t.Fatal(err)
	}
	if len(k.States) != 0 {
		t.Errorf("installed again: %v", k.States)
	}
	m.whole(p) // the fake fails the test for a key that comes twice
}

// The peer has moved: the outbound SA can't, because its numbers would begin anew.
func TestMovedPeerGetsNewSAs(t *testing.T) {
	p, k := newFake(t)
	m := newMesh(k, 0)
	m.rekey(0)
	m.settle(p)
	c := m.config()
	c.Peers[0].Encap = ipsec.EncapESP
	if err := p.Set(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if !k.sealed(endpoint(0)) {
		t.Error("the old SAs are gone before there are new ones")
	}
	if !m.heed(p) {
		t.Error("no new SAs were asked for")
	}
}

func TestAdoptedSAsHaveAGrace(t *testing.T) {
	p, k := newFake(t)
	m := newMesh(k, 0)
	m.rekey(0)
	m.settle(p)
	p = k.plane()
	now := time.Now()
	p.now = func() time.Time { return now }
	m.rekey(0)
	m.settle(p)
	old := stateKey{us, firstSPI}
	steps := []struct {
		what string
		do   func()
		want bool
	}{
		{"new SAs without a packet", func() { now = now.Add(time.Hour) }, true},
		{"a packet on the new SA", func() { k.inventory.counters[stateKey{us, m.peers[0][0]}] = counter{Packets: 1} }, true},
		{"within the grace", func() { now = now.Add(keepAdopted - time.Second) }, true},
		{"after it", func() { now = now.Add(2 * time.Second) }, false},
	}
	for _, s := range steps {
		s.do()
		m.settle(p)
		if _, there := k.States[old]; there != s.want {
			t.Errorf("%s: the adopted SA is there: %v", s.what, there)
		}
	}
}

func TestClosed(t *testing.T) {
	p, k := newFake(t)
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
	if err := p.Set(t.Context(), newMesh(k).config()); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if _, err := p.Stats(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if err := p.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if _, open := <-p.Events(); open {
		t.Error("events are open")
	}
}
