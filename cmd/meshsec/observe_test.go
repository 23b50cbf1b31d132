package main

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/mesh"
	"github.com/meshsec/meshsec/store"
)

// crowd is hosts that all see one of them behind a NAT, and share what they publish.
type crowd struct {
	snap      store.Snapshot
	observers []*observer
	at        func(by int) netip.AddrPort
	now       time.Time
	writes    int
}

func newCrowd(n int, at func(by int) netip.AddrPort) *crowd {
	c := &crowd{snap: store.Snapshot{Hosts: map[string]store.Host{}, Alive: map[string]bool{}}, at: at, now: time.Unix(0, 0)}
	for i := range n {
		id := fmt.Sprintf("%016x", i)
		c.snap.Hosts[id], c.snap.Alive[id] = store.Host{ID: id}, true
		c.observers = append(c.observers, &observer{self: id})
	}
	c.snap.Hosts["n"] = store.Host{ID: "n"}
	return c
}

// run lets all look once a second; everybody sees at once what is published.
func (c *crowd) run(d time.Duration) {
	for end := c.now.Add(d); c.now.Before(end); c.now = c.now.Add(time.Second) {
		for i, o := range c.observers {
			if c.snap.Alive[o.self] && o.update(c.now, &c.snap, map[string]netip.AddrPort{"n": c.at(i)}) {
				h := c.snap.Hosts[o.self]
				h.Observed = maps.Clone(o.published)
				c.snap.Hosts[o.self] = h
				c.writes++
			}
		}
	}
}

func (c *crowd) publishers() (n int) {
	for id, h := range c.snap.Hosts {
		if c.snap.Alive[id] {
			n += len(h.Observed)
		}
	}
	return n
}

// TestFewPublishWhatAllSee: three hundred hosts that see the same make a few writes, also when it changes or a publisher dies.
func TestFewPublishWhatAllSee(t *testing.T) {
	same := netip.MustParseAddrPort("198.51.100.1:20001")
	c := newCrowd(300, func(int) netip.AddrPort { return same })
	c.run(time.Minute)
	if n := c.publishers(); n < 1 || n > 2*enough || c.writes > 2*enough {
		t.Errorf("%d publish, %d writes", n, c.writes)
	}
	c.writes, same = 0, netip.MustParseAddrPort("198.51.100.1:20002")
	c.run(time.Minute)
	if n := c.publishers(); n < 1 || c.writes > 2*enough {
		t.Errorf("after a change: %d publish, %d writes", n, c.writes)
	}
	for id, h := range c.snap.Hosts {
		if len(h.Observed) > 0 {
			delete(c.snap.Alive, id)
		}
	}
	c.writes = 0
	c.run(time.Minute)
	if n := c.publishers(); n < 1 || c.writes > 2*enough {
		t.Errorf("after their end: %d publish, %d writes", n, c.writes)
	}
}

// TestFewPublishWhatEachSeesElsewhere: a NAT with a port for each destination shows each host another one.
func TestFewPublishWhatEachSeesElsewhere(t *testing.T) {
	c := newCrowd(300, func(by int) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr("198.51.100.1"), uint16(1000+by))
	})
	c.run(5 * time.Minute)
	if n := c.publishers(); n < 2 || n > 2*enoughAddrs || c.writes > 2*enoughAddrs {
		t.Errorf("%d publish, %d writes", n, c.writes)
	}
}

// TestObserverWithdraws: what is not seen any more, and what is known from the disk only.
func TestObserverWithdraws(t *testing.T) {
	c := newCrowd(1, func(int) netip.AddrPort { return netip.MustParseAddrPort("198.51.100.1:20001") })
	c.snap.FromDisk = true
	c.run(time.Minute)
	if c.writes != 0 {
		t.Error("published without etcd")
	}
	c.snap.FromDisk = false
	c.run(time.Minute)
	o := c.observers[0]
	if c.writes != 1 || len(o.published) != 1 {
		t.Errorf("%d writes, %v", c.writes, o.published)
	}
	if !o.update(c.now, &c.snap, nil) || len(o.published) != 0 || o.update(c.now, &c.snap, nil) {
		t.Errorf("still %v", o.published)
	}
}

// TestOneLiarHidesNoPublicHost: a member that tells, or publishes, that it sees a host elsewhere.
func TestOneLiarHidesNoPublicHost(t *testing.T) {
	own, lie := netip.MustParseAddrPort("192.0.2.1:4500"), netip.MustParseAddrPort("198.51.100.9:1")
	h := store.Host{Addrs: []netip.Addr{own.Addr()}, Port: own.Port()}
	for _, c := range []struct {
		told []netip.AddrPort
		want bool
	}{
		{nil, true}, {[]netip.AddrPort{{}}, true}, {[]netip.AddrPort{own}, true}, {[]netip.AddrPort{own, own, lie}, true},
		{[]netip.AddrPort{netip.MustParseAddrPort("[::ffff:192.0.2.1]:4500")}, true},
		{[]netip.AddrPort{lie}, false}, {[]netip.AddrPort{own, lie}, false}, {[]netip.AddrPort{lie, lie, own}, false},
	} {
		if got := public(h, c.told); got != c.want {
			t.Errorf("told %v: %t", c.told, got)
		}
	}
}

func TestNATNotes(t *testing.T) {
	for mine, row := range [][]string{
		mesh.NoNAT:       {"", "the peer is behind a NAT", "the peer is behind a NAT"},
		mesh.StableNAT:   {"", "both hosts are behind NATs:", "the peer is behind a NAT that changes ports"},
		mesh.ChangingNAT: {"", "this host is behind a NAT that changes ports", "NATs that change ports"},
	} {
		for theirs, want := range row {
			if got := natNote(mesh.NAT(mine), mesh.NAT(theirs)); !strings.Contains(got, want) || (got == "") != (want == "") {
				t.Errorf("%d and %d: %q", mine, theirs, got)
			}
		}
	}
}
