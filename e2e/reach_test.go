package e2e

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/meshsec/meshsec/internal/testnet"
)

// megabyte is what is transferred, in each direction, and compared by SHA-256.
const megabyte = 1 << 20

// TestEveryPair: ping and TCP between containers of all hosts, both ways, with dynamic and static addresses.
func TestEveryPair(t *testing.T) {
	s := shared(t)
	var all []*testnet.Container
	for i, h := range s.Hosts {
		all = append(all,
			start(t, h, mesh, fmt.Sprintf("dynamic%d", i)),
			start(t, h, mesh, fmt.Sprintf("static%d", i), "--ip", fmt.Sprintf("10.42.7.%d", i+1)))
		if got := all[len(all)-1].Addr.String(); got != fmt.Sprintf("10.42.7.%d", i+1) {
			t.Errorf("--ip gave %s", got)
		}
	}
	s.everyPair(t, all)
	if len(s.watch.RecentESP()) == 0 {
		t.Error("no ESP crossed the underlay: what did?")
	}
}

// everyPair pings between containers of different hosts and, where their names begin alike, transfers, both ways.
func (s *suite) everyPair(t *testing.T, all []*testnet.Container) {
	t.Helper()
	for _, from := range all {
		for _, to := range all {
			if from.Host == to.Host {
				continue
			}
			s.reach(t, from, to.Addr)
			// One of a pair of kinds is enough for the bytes.
			if from.Name[0] != to.Name[0] {
				continue
			}
			if _, err := from.Transfer(t.Context(), s.watch.Canary, to.Addr, megabyte); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestSameHost: containers of one host talk on their bridge, without a hop.
func TestSameHost(t *testing.T) {
	s := shared(t)
	a, b := start(t, s.Hosts[0], mesh, "one"), start(t, s.Hosts[0], mesh, "two")
	s.reach(t, a, b.Addr)
	if _, err := a.Transfer(t.Context(), s.watch.Canary, b.Addr, megabyte); err != nil {
		t.Error(err)
	}
	arp, err := a.ARP(t.Context(), b.Addr)
	if err != nil || arp.MAC != b.MAC {
		t.Errorf("%s is at %s, %v; want its own %s", b.Addr, arp.MAC, err, b.MAC)
	}
}

// TestLateHost: a host that joins last reaches the containers that were there before, and they it.
func TestLateHost(t *testing.T) {
	s := shared(t)
	early := start(t, s.Hosts[1], mesh, "early")
	h, err := s.AddHost(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.join(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	if err := createMesh(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	late := start(t, h, mesh, "late")
	s.reach(t, late, early.Addr)
	s.reach(t, early, late.Addr)
}

// TestGatewayIsHere: the gateway's address is the own host's router, on every host.
func TestGatewayIsHere(t *testing.T) {
	s := shared(t)
	for _, h := range s.Hosts {
		s.reach(t, start(t, h, mesh, "some"), netip.MustParseAddr("10.42.0.1"))
	}
}
