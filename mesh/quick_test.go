package mesh

import (
	"slices"
	"testing"
)

// TestQuickRound: another host's endpoint costs a Config for the data plane and nothing else; what is of this host is set, and after
// a failure all is.
func TestQuickRound(t *testing.T) {
	n, r := fakes()
	f := baseFacts()
	n.put(f)
	round := func(what string, whole bool, want ...string) {
		t.Helper()
		n.taken()
		quick, err := r.reconcile(t.Context(), whole)
		if calls := n.taken(); err == nil && !slices.Equal(calls, want) || quick == slices.Contains(want, "guard") {
			t.Errorf("%s: calls %v, want %v; quick: %v", what, calls, want, quick)
		}
		if err == nil {
			n.carries(t, f)
		}
	}
	everything := []string{"guard", "addr", "filter", "bridges", "ports", "plane", "peers"}
	round("the first", false, everything...)
	round("nothing new", false, "peers")
	f.endpoint("b", "default", "10.42.65.9")
	r.memory = memory{} // the map was changed in place
	round("another host's endpoint", false, "plane", "peers")
	round("to be read back", true, everything...)
	f.endpoint("b", "default", "10.42.65.10")
	r.memory = memory{}
	round("to be read back, with news", true, append(everything[:5:5], "plane", "plane", "peers")...)
	local := f.local
	n.local = &local
	round("the checkpoint was written", false, append(everything[:5:5], "peers")...)
	f.network("third", "10.44.0.0/16")
	f.block("third", "10.44.64.0/26", "b")
	r.memory = memory{}
	round("a pool to be guarded", false, append(everything[:5:5], "peers")...)
	f.network("fourth", "10.45.0.0/16")
	f.block("fourth", "10.45.64.0/26", "b")
	r.memory = memory{}
	n.failing(func(call string) bool { return call == "filter" })
	round("a failure", false, everything...)
	n.failing(nil)
	round("after it", false, append(everything[:5:5], "peers")...)
}
