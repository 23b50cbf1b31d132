package store

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestAForgedListOfMembersTakesNoData: a member that was stolen can write the list, but not make the others throw away what they
// hold; the leading one puts it right.
func TestAForgedListOfMembersTakesNoData(t *testing.T) {
	long(t)
	c := newColony(t, 3)
	c.await(t, []int{0, 1, 2}, 0, 1, 2)
	thief := c.hosts[2]
	for _, list := range [][]Member{{{Host: thief.id}}, {{Host: "00000000000000aa"}}} {
		wrote := thief.Snapshot().Members
		value := string(mustEncode(memberList{Version, list}))
		if err := thief.group.now.Load().now.Load().put(callCtx(t), thief.key(factKey{kind: kindMembers}), value); err != nil {
			t.Fatal(err)
		}
		c.await(t, []int{0, 1, 2}, 0, 1, 2)
		c.writes(t, 0, 0, 1, 2)
		c.writes(t, 1, 0, 1, 2)
		for _, h := range c.hosts {
			if !h.group.Here() || !HasData(h.cfg.Dir) {
				t.Errorf("%s is no member any more: %q; members were %v", h.id, h.group.Problem(), wrote)
			}
		}
	}
}

func TestQuorumWithout(t *testing.T) {
	at := func(down bool, learner bool) Member {
		m := Member{Learner: learner}
		if down {
			m.Down = time.Now()
		}
		return m
	}
	well, dead, learns := at(false, false), at(true, false), at(false, true)
	for _, c := range []struct {
		others []Member
		gone   bool // the first of them was removed
		want   bool
	}{
		{nil, false, false}, {[]Member{well}, false, false}, {[]Member{well, well}, false, true}, {[]Member{well, dead}, false, false},
		{[]Member{well, learns, learns}, false, false}, {[]Member{well, well}, true, false}, {[]Member{well, well, well, dead}, false, true},
		{[]Member{well, well, dead, dead}, false, false},
	} {
		s := &Snapshot{Members: []Member{{Host: "self"}}, Revoked: map[string]Revocation{}}
		for i, m := range c.others {
			m.Host = string(rune('a' + i))
			s.Members = append(s.Members, m)
		}
		if c.gone {
			s.Revoked["a"] = Revocation{}
		}
		if got := s.quorumWithout("self"); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestSetAsideTwice: where there is nothing to put aside any more, what was put aside stays.
func TestSetAsideTwice(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etcd")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := SetAside(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir + ".left"); err != nil {
			t.Error(err)
		}
	}
}
