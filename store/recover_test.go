package store

import (
	"slices"
	"strings"
	"testing"
)

// TestFiveMembersAndWhatIsLeftOfThem: five come to be, two are lost, and writes go on; with the third the last two can decide nothing, until
// one of them is told to go on alone. The other one, and those that are back with what they had, come in anew.
func TestFiveMembersAndWhatIsLeftOfThem(t *testing.T) {
	long(t)
	c := newColonyOf(t, 5, 5)
	c.await(t, []int{0, 1, 2, 3, 4}, 0, 1, 2, 3, 4)
	c.writes(t, 4, 0, 1, 2, 3, 4)
	left := c.hosts[2]
	refused := func(word string, lost ...string) {
		t.Helper()
		if err := left.group.Recover(callCtx(t), lost); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("recovery without %v: %v, and nothing of %q", lost, err, word)
		}
	}
	refused("nothing to recover", "host0", "host1", "host3")
	c.hosts[0].halt()
	c.hosts[1].halt()
	c.writes(t, 4, 2, 3, 4)
	refused("nothing to recover", "host0", "host1", "host3")
	c.hosts[3].halt()
	eventually(t, "the end of etcd's answers", func() bool {
		ok, _ := left.Healthy()
		return !ok && !left.group.now.Load().Serving()
	})
	refused("3 of 5 members would be left", "host0", "host1")
	refused("no member", "host0", "host1", "host9")
	refused("this host", "host0", "host1", "host2")

	if err := left.group.Recover(t.Context(), []string{"host0", c.hosts[1].id, "host3"}); err != nil {
		t.Fatal(err)
	}
	c.writes(t, 2, 2, 4)
	refused("nothing to recover", "host0", "host1", "host3")
	eventually(t, "the other one's end as a member", func() bool { return !c.hosts[4].group.Here() })
	c.hosts[0].start(t)
	c.hosts[1].start(t)
	for _, i := range []int{0, 1, 2, 4} {
		waitFor(t, growth, "three members again", func() bool { v := c.voters(c.hosts[i]); return len(v) == 3 && slices.Contains(v, 2) })
	}
	c.writes(t, 0, 0, 1, 2, 4)
}

// TestARecoveryWithoutAMember: the error names who has one.
func TestARecoveryWithoutAMember(t *testing.T) {
	long(t)
	c := newColony(t, 2)
	c.await(t, []int{0}, 0, 1)
	c.hosts[0].halt()
	eventually(t, "the end of etcd's answers", func() bool { ok, _ := c.hosts[1].Healthy(); return !ok })
	err := c.hosts[1].group.Recover(callCtx(t), []string{"host0"})
	if err == nil || !strings.Contains(err.Error(), "type it on one that has (host0)") {
		t.Error(err)
	}
}
