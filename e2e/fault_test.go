package e2e

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/internal/testnet"
)

// fault is two containers on two hosts with pings going on between them.
func fault(t *testing.T, s *suite) (from, to *testnet.Container, flow *testnet.Flow) {
	t.Helper()
	from, to = start(t, s.Hosts[0], mesh, "from"), start(t, s.Hosts[1], mesh, "to")
	s.reach(t, from, to.Addr)
	flow, err := from.StartFlow(t.Context(), s.watch.Canary, to.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { flow.Stop() })
	return from, to, flow
}

// TestVethDeleted: without its mesh interface a container's packets try docker_gwbridge, and the host's guard stops them.
func TestVethDeleted(t *testing.T) {
	s := shared(t)
	before := footprint(t, s)
	from, to, _ := fault(t, s)
	h := from.Host
	deleteVeths(t, h)
	sent := sentToWorld(t, from)
	if _, err := from.Ping(t.Context(), s.watch.Canary, to.Addr, 5); err == nil {
		t.Error("pings without an interface are answered")
	}
	if now := sentToWorld(t, from); now < sent+5 {
		t.Errorf("the packets do not try docker_gwbridge: %d sent before, %d now", sent, now)
	}
	remove(t, h, "from")
	remove(t, to.Host, "to")
	leftNothing(t, s, before)
}

// deleteVeths deletes the links of all containers of the host to the mesh.
func deleteVeths(t *testing.T, h *testnet.Host) {
	t.Helper()
	_, err := h.RunRouter(t.Context(), "sh", "-c", "for l in $(ip -o link show type veth | awk -F'[ @:]+' '{print $2}'); do ip link del $l; done")
	if err != nil {
		t.Fatal(err)
	}
}

// TestGuardIsNeeded: without the guard the packets of TestVethDeleted do cross the underlay, and the harness sees them. The
// next change brings the guard back.
func TestGuardIsNeeded(t *testing.T) {
	s := unwatched(t)
	from, to := start(t, s.Hosts[0], mesh, "from"), start(t, s.Hosts[1], mesh, "to")
	s.reach(t, from, to.Addr)
	h := from.Host
	since := time.Now()
	deleteVeths(t, h)
	eventually(t, "a leak, without which TestVethDeleted proves nothing", func() error {
		// A round of the agent may bring the table back before the packets come.
		if _, err := h.Run(t.Context(), "sh", "-c", "nft delete table inet meshsec || true"); err != nil {
			return err
		}
		if _, err := from.Ping(t.Context(), s.watch.Canary, to.Addr, 3); err == nil {
			return testnet.Final(errors.New("pings without an interface are answered"))
		}
		if err := s.watch.Sync(t.Context()); err != nil {
			return err
		}
		if len(s.watch.Leaks(since)) == 0 {
			return errors.New("nothing leaked")
		}
		return nil
	})
	remove(t, h, "from")
	start(t, h, mesh, "change")
	eventually(t, "the guard", func() error {
		_, err := h.Run(t.Context(), "nft", "list", "set", "inet", "meshsec", "pools")
		return err
	})
}

// sentToWorld is the number of packets that the container has sent to docker_gwbridge.
func sentToWorld(t *testing.T, c *testnet.Container) (packets int) {
	t.Helper()
	out, err := c.Exec(t.Context(), "cat", "/sys/class/net/eth1/statistics/tx_packets")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(out, &packets); err != nil {
		t.Fatal(err)
	}
	return packets
}

// TestRouterDown: with the router's interfaces set down nothing passes and nothing leaks, and the next change repairs them.
func TestRouterDown(t *testing.T) {
	s := shared(t)
	from, to, flow := fault(t, s)
	h := from.Host
	links, err := h.RunRouter(t.Context(), "sh", "-c", "ip -o link show type bridge | awk -F'[ @:]+' '{print $2}'")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range append(strings.Fields(links), tunnels(t, h)...) {
		if _, err := h.RunRouter(t.Context(), "ip", "link", "set", link, "down"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := from.Ping(t.Context(), s.watch.Canary, to.Addr, 5); err == nil {
		t.Log("figure: interfaces set down were repaired at once")
	}
	change := start(t, h, mesh, "change")
	if err := flow.Goes(t.Context(), patience); err != nil {
		t.Errorf("not repaired: %v", err)
	}
	s.reach(t, change, to.Addr)
}

// TestCase21AgentKilled: the agent is killed under traffic; it comes back, the traffic goes on, and what was there stays.
func TestCase21AgentKilled(t *testing.T) {
	s := shared(t)
	from, to, flow := fault(t, s)
	before := footprint(t, s)
	for _, h := range []*testnet.Host{from.Host, to.Host} {
		pid, err := h.KillAgent(unix.SIGKILL)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the process's end", func() error {
			if unix.Kill(pid, 0) == nil {
				return fmt.Errorf("%d still runs", pid)
			}
			return nil
		})
		if err := flow.Goes(t.Context(), patience); err != nil {
			t.Errorf("agent of %s killed: %v", h.Name, err)
		}
	}
	t.Logf("figure: %d pings, one each 10 ms, lost by two kills of an agent", flow.Stop())
	leftNothing(t, s, before)
	s.reach(t, to, from.Addr)
}

// TestCableOut: a host without underlay keeps its own containers connected, and finds its peers again.
func TestCableOut(t *testing.T) {
	s := shared(t)
	from, _, flow := fault(t, s)
	neighbour := start(t, from.Host, mesh, "neighbour")
	if err := s.SetPort(t.Context(), from.Host, false); err != nil {
		t.Fatal(err)
	}
	s.reach(t, from, neighbour.Addr)
	if err := s.SetPort(t.Context(), from.Host, true); err != nil {
		t.Fatal(err)
	}
	if err := flow.Goes(t.Context(), 2*patience); err != nil {
		t.Error(err)
	}
}

// TestGuardHolds: what a container or the host itself sends to a pool by another way is dropped, also after the plugin's end.
func TestGuardHolds(t *testing.T) {
	s := shared(t)
	h := s.Hosts[1]
	outsider := start(t, h, "bridge", "outsider")
	far := start(t, s.Hosts[0], mesh, "far")
	if _, err := outsider.Ping(t.Context(), s.watch.Canary, far.Addr, 2); err == nil {
		t.Error("a container of another network reaches the mesh")
	}
	if _, err := h.Run(t.Context(), s.Dir()+"/probe", "ping", "-canary", hex.EncodeToString(s.watch.Canary[:]), "-count", "2", far.Addr.String()); err == nil {
		t.Error("the host itself reaches the mesh")
	}
}
