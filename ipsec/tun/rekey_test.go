package tun_test

import (
	"errors"
	"slices"
	"testing"
)

// A handshake waits for the Set with its SAs, and its answer must not depend on routes.
func TestRekeyLeavesRoutesAlone(t *testing.T) {
	a, b := newLab(t)
	join(a, b, 0x1000)
	looks := a.routes.looks
	a.routes.broken = errors.New("broken")
	join(a, b, 0x2000)
	if a.routes.looks != looks {
		t.Errorf("routes were looked at %d times for new SAs", a.routes.looks-looks)
	}
	a.ping(b.container)

	// Other routes are changed without a look, but after one that failed and for the same Config there is one.
	c := a.config(b, 0x2000, 0x2001)
	c.Peers[0].MTU = 1400
	for range 2 {
		if err := a.plane.Set(t.Context(), c); !errors.Is(err, a.routes.broken) {
			t.Errorf("routes are broken, and Set says %v", err)
		}
	}
	if a.routes.looks != looks+1 || !slices.Equal(a.routes.changes, []int{2, 0}) {
		t.Errorf("routes were looked at %d times for two Sets, and changed: %v", a.routes.looks-looks, a.routes.changes)
	}
	// Even after a Set that failed, new SAs are taken without a look, and the next Set completes what is missing.
	again := a.config(b, 0x3000, 0x3001)
	again.Peers[0].MTU = 1400
	a.set(again)
	a.routes.broken = nil
	a.must(a.router.Do(func() error { ip(t, "route flush table main proto 109"); return nil }))
	a.set(again)
	if a.routes.looks != looks+2 {
		t.Errorf("routes were looked at %d times for four Sets", a.routes.looks-looks)
	}
	join(a, b, 0x4000) // with another MTU for a's peer, so not a rekey for a
	a.ping(b.container)
}
