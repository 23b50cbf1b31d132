package store_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

// put gives the host an endpoint with this name.
func put(t *testing.T, h *teststore.Host, id byte, name string) store.EndpointKey {
	t.Helper()
	e := store.Endpoint{V: store.Version, ID: fmt.Sprintf("%064x", id), Host: h.ID, Network: "default",
		Addr: netip.AddrFrom4([4]byte{10, 42, 0, id}), MAC: "02:42:0a:2a:00:01", Name: name}
	err := h.Checkpoint.Update(func(l *store.Local) error {
		l.Endpoints[e.ID] = store.LocalEndpoint{Endpoint: e}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Wait(name+" in etcd", func() bool { got, _ := h.Store.Snapshot().Endpoint(e.Key()); return got.Name == name })
	return e.Key()
}

// An etcd that was restored from a backup has, when the host reaches it again, grown past all revisions that the host knows. What the
// host had told the lost one it tells it again at once, and not when it lists again.
func TestARestoredEtcdThatHasOvertaken(t *testing.T) {
	t.Parallel()
	env := teststore.New(t)
	env.LeaseTTL = time.Hour // no question of the lease's falls into the outage
	other, away := env.WiredHost("other")
	h, wire := env.WiredHost("host")
	base := env.Backup()
	wire.Cut()
	for n := range 60 {
		put(t, other, 1, fmt.Sprint("new", n))
	}
	ahead := env.Backup()
	away.Cut()
	env.Restore(base)
	wire.Heal()
	lost := put(t, h, 2, "lost")
	known := h.Store.Snapshot().Revision
	wire.Cut() // killed, it says no goodbye
	env.Restore(ahead)
	wire.Heal()
	observer := env.Host("observer")
	if now := observer.Store.Snapshot().Revision; now <= known {
		t.Fatalf("the restored etcd is at revision %d, the host at %d: nothing is tested", now, known)
	}
	observer.Wait("the host's endpoint", func() bool { _, there := observer.Store.Snapshot().Endpoint(lost); return there })
	h.Wait("what the backup has", func() bool { return h.Store.Snapshot().EndpointCount() == 2 })
}

// A host that was away while another one's claim was made, and while etcd was restored from a backup of before that and has overtaken what
// the host knows, does not get the same address: neither by a claim that was on its way meanwhile, nor at once afterwards.
func TestNoClaimInARestoredEtcdThatHasOvertaken(t *testing.T) {
	t.Parallel()
	env := teststore.New(t)
	env.LeaseTTL = time.Hour
	other, away := env.WiredHost("other")
	busy, hands := env.WiredHost("busy")
	h, wire := env.WiredHost("host")
	network := store.Network{V: store.Version, Name: "default", Pool: netip.MustParsePrefix("10.42.0.0/16"), Gateway: netip.MustParseAddr("10.42.0.1"), BlockLen: 26}
	if _, err := h.Store.CreateNetwork(t.Context(), network); err != nil {
		t.Fatal(err)
	}
	base := env.Backup()
	for _, host := range []*teststore.Host{other, busy, h} {
		put(t, host, 1, "newer")
	}
	wire.Cut()
	k := store.AddrKey{Network: "default", Addr: netip.MustParseAddr("10.42.0.9")}
	claim := func(by *teststore.Host) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		return by.Store.ClaimStatic(ctx, k)
	}
	if owner, err := claim(other); err != nil || owner != other.ID {
		t.Fatal(owner, err)
	}
	mustKeep(t, other, k)
	away.Cut()
	hands.Cut()
	env.Restore(base)
	hands.Heal()
	for n := range 60 {
		put(t, busy, 2, fmt.Sprint("busy", n))
	}
	done := make(chan string, 1)
	go func() {
		for {
			owner, err := claim(h)
			if err == nil {
				done <- owner
				return
			}
			if ok, _ := h.Store.Healthy(); ok { // it knows by now
				away.Heal()
			}
		}
	}()
	wire.Heal()
	select {
	case owner := <-done:
		if owner != other.ID {
			t.Errorf("host %s (%s) has what %s has", owner, h.ID, other.ID)
		}
	case <-time.After(time.Minute):
		t.Error("no answer whose it is")
	}
}

// mustKeep writes a claim down as its owner does.
func mustKeep(t *testing.T, h *teststore.Host, k store.AddrKey) {
	t.Helper()
	err := h.Checkpoint.Update(func(l *store.Local) error {
		l.Statics[k] = store.Claim{Since: time.Now()}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
