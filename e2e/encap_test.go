package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
	"github.com/meshsec/meshsec/internal/testnet/leak"
)

// TestESPWithoutUDP: hosts with ENCAP=esp speak protocol 50 with each other, and UDP with one that has not, without anybody
// configuring a pair.
func TestESPWithoutUDP(t *testing.T) {
	s := special(t, testnet.Options{Hosts: 3, Docker: true, ESP: true})
	if err := s.joinAll(t.Context(), "ENCAP=esp"); err != nil {
		t.Fatal(err)
	}
	t.Run("all hosts", func(t *testing.T) {
		s.hold(t)
		s.carries(t, map[string]string{"h1 h2": "esp", "h1 h3": "esp", "h2 h3": "esp"})
		for _, f := range s.watch.Flows() {
			if f.Name == "ESP in UDP 4500" {
				t.Errorf("%d frames of %s", f.Frames, f.Name)
			}
		}
		if !slices.ContainsFunc(s.watch.Flows(), func(f leak.Flow) bool { return f.Name == "ESP" && f.Max == 14+1500 }) {
			t.Errorf("no full frames of ESP: %+v", s.watch.Flows())
		}
	})
	t.Run("hostile packets", func(t *testing.T) {
		s.hold(t)
		s.hostile(t, espOf, func(to netip.Addr) (net.Conn, error) {
			return net.DialIP("ip4:50", nil, &net.IPAddr{IP: to.AsSlice()})
		})
	})
	t.Run("one host with UDP", func(t *testing.T) {
		s.hold(t)
		h := s.Hosts[2]
		if _, err := h.Docker(t.Context(), "plugin", "disable", "-f", testnet.Plugin); err != nil {
			t.Fatal(err)
		}
		if err := h.SetPlugin(t.Context(), "ENCAP=udp"); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Docker(t.Context(), "plugin", "enable", testnet.Plugin); err != nil {
			t.Fatal(err)
		}
		s.carries(t, map[string]string{"h1 h2": "esp", "h1 h3": "udp", "h2 h3": "udp"})
	})
}

// carries waits until each pair of hosts has its encapsulation and the MTU that goes with it, and uses each.
func (s *suite) carries(t *testing.T, encap map[string]string) {
	t.Helper()
	mtu := map[string]int{"esp": 1446, "udp": 1438}
	var all []*testnet.Container
	for i, h := range s.Hosts {
		eventually(t, "peers of "+h.Name, func() error {
			return peersAre(t, h, func(p control.Peer) error {
				want := encap[min(h.Name, p.Name)+" "+max(h.Name, p.Name)]
				if p.State != "up" || p.Encap != want || p.MTU != mtu[want] {
					return fmt.Errorf("%s is %s by %s with MTU %d, want %s", p.Name, p.State, p.Encap, p.MTU, want)
				}
				return nil
			})
		})
		all = append(all, start(t, h, mesh, fmt.Sprintf("box%d", i)))
	}
	s.everyPair(t, all)
	for _, from := range all {
		for _, to := range all {
			if pair := min(from.Host.Name, to.Host.Name) + " " + max(from.Host.Name, to.Host.Name); from != to {
				s.fits(t, from, to, mtu[encap[pair]])
			}
		}
	}
}

// fits fails the test unless a packet with DF as long as mtu passes, and one byte more does not.
func (s *suite) fits(t *testing.T, from, to *testnet.Container, mtu int) {
	t.Helper()
	for size, want := range map[int]bool{mtu: true, mtu + 1: false} {
		out, err := ping(t, from, to.Addr, size)
		if (err == nil) != want {
			t.Errorf("%s to %s: a ping of %d bytes with DF: %v\n%s", from.Host.Name, to.Host.Name, size, err, out)
		}
	}
}

// ping sends a ping of size bytes, headers included, with DF, from the container's namespace.
func ping(t *testing.T, from *testnet.Container, to netip.Addr, size int) (string, error) {
	t.Helper()
	sandbox, err := from.Host.Docker(t.Context(), "inspect", "--format", "{{.NetworkSettings.SandboxKey}}", from.Name)
	if err != nil {
		t.Fatal(err)
	}
	return from.Host.Run(t.Context(), "nsenter", "--net="+sandbox, "ping", "-c2", "-i0.2", "-W1", "-M", "do", "-s", fmt.Sprint(size-28), to.String())
}

// peersAre asks the host's agent for its peers, and gives the first one's error.
func peersAre(t *testing.T, h *testnet.Host, check func(control.Peer) error) error {
	t.Helper()
	var peers []control.Peer
	if err := h.MeshsecJSON(t.Context(), &peers, "peers"); err != nil {
		return err
	}
	for _, p := range peers {
		if err := check(p); err != nil {
			return err
		}
	}
	return nil
}

// espOf is what a captured frame with ESP in IPv4 carries.
func espOf(frame []byte) []byte { return frame[14+int(frame[14]&15)*4:] }
