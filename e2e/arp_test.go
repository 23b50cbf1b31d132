package e2e

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/meshsec/meshsec/internal/testnet"
)

// TestARP: a remote container's address is answered for, an address that nobody holds is not, and one that has gone is
// no longer, on any host.
func TestARP(t *testing.T) {
	s := shared(t)
	var askers []*testnet.Container
	for i, h := range s.Hosts {
		askers = append(askers, start(t, h, mesh, fmt.Sprintf("asker%d", i)))
	}
	gone := start(t, s.Hosts[1], mesh, "gone")
	ask := func(from *testnet.Container, addr netip.Addr, want bool) error {
		a, err := from.ARP(t.Context(), addr)
		if err == nil && a.Answered != want {
			err = fmt.Errorf("%s on %s asks for %s: answered %v (%s), want %v", from.Name, from.Host.Name, addr, a.Answered, a.MAC, want)
		}
		if err == nil && want {
			t.Logf("figure: ARP for %s answered on %s in %.2f ms", addr, from.Host.Name, a.MS)
		}
		return err
	}
	for _, from := range askers {
		eventually(t, "a held address", func() error { return ask(from, gone.Addr, true) })
		for _, free := range []string{"10.42.0.99", "10.42.255.250"} {
			if err := ask(from, netip.MustParseAddr(free), false); err != nil {
				t.Error(err)
			}
		}
	}
	if err := gone.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, from := range askers {
		eventually(t, "an address that has gone", func() error { return ask(from, gone.Addr, false) })
	}
}

// TestMACOfGateway: remote addresses and the gateway are at one MAC, the same on every host.
func TestMACOfGateway(t *testing.T) {
	s := shared(t)
	far := start(t, s.Hosts[2], mesh, "far")
	macs := map[string]bool{}
	for _, h := range s.Hosts[:2] {
		c := start(t, h, mesh, "near")
		for _, addr := range []netip.Addr{far.Addr, netip.MustParseAddr("10.42.0.1")} {
			eventually(t, "an answer", func() error {
				a, err := c.ARP(t.Context(), addr)
				if err == nil && !a.Answered {
					err = fmt.Errorf("no answer for %s", addr)
				}
				macs[a.MAC] = true
				delete(macs, "")
				return err
			})
		}
	}
	if len(macs) != 1 {
		t.Errorf("several MACs: %v", macs)
	}
}
