package ipam

import (
	"strings"
	"testing"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

// TestNeverTwiceFromABlockThatEtcdGivesToAnother: etcd was restored from a backup of before this host's claim, and another
// host took the block before this one could put its claim back.
func TestNeverTwiceFromABlockThatEtcdGivesToAnother(t *testing.T) {
	e := teststore.New(t)
	one, two := newRig(t, e, "one"), newRig(t, e, "two")
	id := one.network("", "")
	two.Wait("the network", func() bool { return len(two.Store.Snapshot().Networks) == 1 })
	two.network("", "")
	two.mustAddress(id, "")
	var theirs store.BlockKey
	for theirs = range two.Local().Blocks {
		break
	}
	one.sees(two)
	one.update(func(l *store.Local) {
		clear(l.Blocks)
		l.Blocks[theirs] = store.Claim{V: store.Version, Host: one.ID, Since: one.clock.Now()}
	})
	for range 3 {
		if got := one.mustAddress(id, ""); theirs.Prefix.Contains(got) {
			t.Errorf("got %v of the other host's block", got)
		}
	}
	wish := offset(theirs.Prefix.Addr(), 40).String()
	if _, err := one.address(id, wish); err == nil || !strings.Contains(err.Error(), "host two") {
		t.Errorf("--ip %s: %v", wish, err)
	}
}
