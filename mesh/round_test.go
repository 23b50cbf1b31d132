package mesh

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/ipsec"
)

// carries fails the test unless the node carries everything that the facts ask for.
func (n *node) carries(t *testing.T, f *facts) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	want := f.compute()
	got := want
	got.Guard, got.Router, got.Filter, got.Bridges, got.Ports, got.Peers = n.guard, n.router, n.filter, n.bridges, n.ports, n.peers
	if d := difference(text(want), text(got)); len(d) > 0 {
		t.Errorf("not as wanted: %s", strings.Join(d, "\n"))
	}
	if len(n.configs) == 0 || fmt.Sprint(n.configs[len(n.configs)-1]) != fmt.Sprint(want.Config(n.sas)) {
		t.Error("the data plane has another Config")
	}
}

func TestNoSnapshotNoChange(t *testing.T) {
	n, r := fakes()
	f := baseFacts()
	n.put(&facts{local: f.local}) // the host knows what it holds, but nothing of the environment
	if err := r.Reconcile(t.Context()); err != nil {
		t.Error(err)
	}
	if calls := n.taken(); len(calls) > 0 {
		t.Errorf("without a snapshot: %v", calls)
	}
	if err := r.Rekey(t.Context()); err == nil {
		t.Error("Rekey without peers succeeded")
	}
	f.snap.Revision, f.snap.FromDisk = 0, true // from the checkpoint is good enough
	n.put(f)
	if err := r.Reconcile(t.Context()); err != nil {
		t.Error(err)
	}
	n.carries(t, f)
}

func TestReconcileOrder(t *testing.T) {
	n, r := fakes()
	f := baseFacts()
	n.put(f)
	if err := r.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"guard", "addr", "filter", "bridges", "ports", "plane", "peers"}
	if got := n.taken(); !slices.Equal(got, want) {
		t.Errorf("calls %v, want %v", got, want)
	}
	n.carries(t, f)
	// Without the guard no door may be opened; but the tunnels' keys and routes are not its matter.
	n.failing(func(call string) bool { return call == "guard" })
	if err := r.Reconcile(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
	if got := n.taken(); !slices.Equal(got, []string{"guard", "plane", "peers"}) {
		t.Errorf("calls without the guard: %v", got)
	}
}

func TestReconcileWithoutRouterAddress(t *testing.T) {
	n, r := fakes()
	f := baseFacts()
	f.local.Identity.Router = netip.Addr{}
	n.put(f)
	if err := r.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(n.taken(), "addr") {
		t.Error("an address that is not there was set")
	}
}

// TestEachCallFailingOnce (invariant 7): whatever fails, the rest is done in the same round, and the next completes it.
func TestEachCallFailingOnce(t *testing.T) {
	for _, broken := range []string{"guard", "addr", "filter", "bridges", "ports", "plane", "announce"} {
		t.Run(broken, func(t *testing.T) {
			n, r := fakes()
			f := baseFacts()
			n.put(f)
			if err := r.Reconcile(t.Context()); err != nil {
				t.Fatal(err)
			}
			n.taken()
			next := baseFacts()
			next.snap.Revision++
			next.onThisHost("d1", "other", "10.43.0.0/16")
			delete(next.local.Endpoints, "e0") // moves to host b
			next.static("default", "10.42.64.2", "b")
			next.endpoint("b", "default", "10.42.64.2")
			n.put(next)
			once := true
			n.failing(func(call string) bool { fails := call == broken && once; once = once && !fails; return fails })
			if err := r.Reconcile(t.Context()); !errors.Is(err, errBroken) || !strings.Contains(err.Error(), broken) {
				t.Errorf("got %v", err)
			}
			if rev, _, err := r.Applied(); rev != 42 || err == nil {
				t.Errorf("applied %d, %v: the round has failed", rev, err)
			}
			if calls := n.taken(); !slices.Contains(calls, "plane") || !slices.Contains(calls, "announce") {
				t.Errorf("stopped at %v", calls)
			}
			if err := r.Reconcile(t.Context()); err != nil {
				t.Fatal(err)
			}
			n.carries(t, next)
			if rev, at, err := r.Applied(); rev != 43 || at.IsZero() || err != nil {
				t.Errorf("applied %d, %s, %v", rev, at, err)
			}
			if got := fmt.Sprint(n.announced); got != "[br-default 10.42.64.2 02:6d:0a:2a:00:01]" {
				t.Errorf("announced %s", got)
			}
		})
	}
}

func TestAnnouncements(t *testing.T) {
	n, r := fakes()
	step := func(what string, f *facts, want ...string) {
		t.Helper()
		n.put(f)
		n.announced = nil
		if err := r.Reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(n.announced, want) {
			t.Errorf("%s: announced %q, want %q", what, n.announced, want)
		}
	}
	here := func() *facts {
		f := baseFacts()
		f.static("default", "10.42.1.1", "a")
		f.ownEndpoint("e1", "default", "10.42.1.1")
		return f
	}
	there := func() *facts {
		f := baseFacts()
		f.static("default", "10.42.1.1", "b")
		f.endpoint("b", "default", "10.42.1.1")
		return f
	}
	elsewhere := func() *facts {
		f := baseFacts()
		f.static("default", "10.42.1.1", "c")
		f.endpoint("c", "default", "10.42.1.1")
		return f
	}
	toBridge, toContainer := "br-default 10.42.1.1 02:6d:0a:2a:00:01", "br-default 10.42.1.1 02:6d:0a:2a:01:01"
	step("the first round", here())
	step("nothing new", here())
	step("gone", baseFacts())
	step("back", here())
	step("gone again", baseFacts())
	step("on another host, after it was gone", there(), toBridge)
	step("on a third", elsewhere())
	step("back here", here(), toContainer)
	step("remote at once", there(), toBridge)
	gone := there()
	clear(gone.local.Networks)
	step("the network is gone", gone)
	step("and back: there is nobody to be told", here())
}

func TestRekey(t *testing.T) {
	n, r := fakes()
	f := baseFacts()
	n.put(f)
	if err := r.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	out := ipsec.SA{SPI: 300}
	n.sas = map[string]ipsec.SASet{"b": {In: []ipsec.SA{{SPI: 301}}, Out: &out}, "stranger": {Out: &out}}
	n.taken()
	if err := r.Rekey(t.Context()); err != nil {
		t.Fatal(err)
	}
	if calls := n.taken(); !slices.Equal(calls, []string{"plane"}) {
		t.Errorf("calls %v", calls)
	}
	c := n.configs[len(n.configs)-1]
	if len(c.Peers) != 2 || c.Peers[0].Out == nil || c.Peers[0].Out.SPI != 300 || c.Peers[0].In[0].SPI != 301 || c.Peers[1].Out != nil {
		t.Errorf("config %+v", c)
	}
	if err := r.Rekey(t.Context()); err != nil {
		t.Fatal(err)
	}
	if calls := n.taken(); len(calls) > 0 {
		t.Errorf("calls for the same SAs: %v", calls)
	}
	n.sas = map[string]ipsec.SASet{"b": {Out: &ipsec.SA{SPI: 302}}}
	n.failing(func(string) bool { return true })
	if err := r.Rekey(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("got %v: the handshake must not answer", err)
	}
	n.failing(nil)
	if err := r.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.carries(t, f) // a round keeps the SAs
}

// TestRoundReadsBack: a round that comes with new SAs must look at the routes all the same, so the data plane gets the Config
// twice: once as a rekey, once as no news.
func TestRoundReadsBack(t *testing.T) {
	n, r := fakes()
	f := baseFacts()
	n.put(f)
	n.failing(func(call string) bool { return call == "plane" })
	if err := r.Reconcile(t.Context()); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	n.failing(nil)
	n.sas = map[string]ipsec.SASet{"b": {Out: &ipsec.SA{SPI: 300}}}
	if err := r.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(n.configs) != 2 || !n.configs[0].EqualButSAs(n.configs[1]) || !n.configs[0].EqualSAs(n.configs[1]) {
		t.Errorf("the data plane got %d Configs: %v", len(n.configs), n.configs)
	}
	n.carries(t, f)
}

// A peer is sent to where the handshake has seen it last, not where its fact says.
func TestSeenElsewhere(t *testing.T) {
	n, r := fakes()
	f := baseFacts()
	n.put(f)
	out, at := ipsec.SA{SPI: 300}, netip.MustParseAddrPort("198.51.100.7:1024")
	n.sas = map[string]ipsec.SASet{"b": {Out: &out}}
	if err := r.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	remote := func() netip.AddrPort {
		for _, p := range n.configs[len(n.configs)-1].Peers {
			if p.Name == "b" {
				return p.Remote
			}
		}
		return netip.AddrPort{}
	}
	fact := remote()
	n.sas = map[string]ipsec.SASet{"b": {Out: &out, Remote: at}}
	if err := r.Rekey(t.Context()); err != nil || remote() != at {
		t.Errorf("b at %v: %v", remote(), err)
	}
	n.sas = map[string]ipsec.SASet{"b": {Out: &out}}
	if err := r.Rekey(t.Context()); err != nil || remote() != fact || !fact.IsValid() {
		t.Errorf("b at %v, its fact says %v: %v", remote(), fact, err)
	}
}
