package e2e

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/engines"
	"github.com/meshsec/meshsec/internal/testnet"
)

// backends skips a test of dockerd's firewall backends on an engine that has one only.
func backends(t *testing.T) {
	t.Helper()
	name, err := testnet.EngineName()
	if err != nil {
		t.Fatal(err)
	}
	if name == engines.Old {
		t.Skipf("engine %s writes its rules by iptables only", name)
	}
}

// foreign is a table of somebody else's on the host.
const foreign = `table inet foreign {
	chain forward {
		type filter hook forward priority -50; policy accept;
		ip saddr 198.51.100.0/24 drop
	}
}`

// answers waits until a port that a container publishes answers from outside. The payload is not the canary: it crosses
// the underlay as it should, in the clear.
func (s *suite) answers(t *testing.T, h *testnet.Host, port string) {
	t.Helper()
	eventually(t, "port "+port+" of "+h.Name, func() error {
		out, err := s.Outside.Run(t.Context(), s.Dir()+"/probe", "transfer", "-port", port, "-size", "100000", h.Addr.String())
		if err == nil && !strings.Contains(out, `"up":true,"down":true`) {
			err = errors.New(out)
		}
		return err
	})
}

// waysOut checks all ways of a container: to another host's, to the world, from outside to its published port; and that
// those of other networks have none to it.
func (s *suite) waysOut(t *testing.T, c, peer, outsider *testnet.Container) {
	t.Helper()
	s.reach(t, c, peer.Addr)
	s.reach(t, peer, c.Addr)
	eventually(t, "the world from "+c.Name, func() error {
		_, err := c.Exec(t.Context(), "ping", "-c1", "-W2", testnet.Internet.String())
		return err
	})
	s.answers(t, c.Host, "8080")
	if _, err := outsider.Ping(t.Context(), s.watch.Canary, peer.Addr, 2); err == nil {
		t.Error("a container of another network reaches the mesh")
	}
}

// TestFirewallBackends: dockerd writes its rules by one backend, by the other, and by the first again, under running
// containers. Each time all ways of containers old and new are open, the guard holds, and the table of somebody else is as it
// was.
func TestFirewallBackends(t *testing.T) {
	backends(t)
	s := own(t, 2)
	ctx := t.Context()
	if err := s.joinAll(ctx); err != nil {
		t.Fatal(err)
	}
	h := s.Hosts[0]
	peer := start(t, s.Hosts[1], mesh, "peer")
	if _, err := h.Run(ctx, "nft", foreign); err != nil {
		t.Fatal(err)
	}
	table := func() string {
		out, err := h.Run(ctx, "nft", "list", "table", "inet", "foreign")
		if err != nil {
			t.Error(err)
		}
		return out
	}
	before := table()
	const live = "--live-restore"
	restartDockerd(t, h, unix.SIGTERM, live, testnet.Firewall("iptables"))
	old := start(t, h, mesh, "old", "-p", "8080:9000")
	outsider := start(t, h, "bridge", "outsider")
	s.waysOut(t, old, peer, outsider)
	for _, backend := range []string{"nftables", "iptables", "nftables"} {
		// dockerd leaves the policy of a chain that is not its own to the administrator when it changes backends.
		if _, err := h.Run(ctx, "iptables", "-P", "FORWARD", "ACCEPT"); err != nil {
			t.Fatal(err)
		}
		restartDockerd(t, h, unix.SIGTERM, live, testnet.Firewall(backend))
		t.Run(backend, func(t *testing.T) {
			s.waysOut(t, old, peer, outsider)
			docker(t, h, []string{"stop", "-t", "0", "old"})
			s.waysOut(t, start(t, h, mesh, "new", "-p", "8080:9000"), peer, outsider)
			remove(t, h, "new")
			docker(t, h, []string{"start", "old"})
			var err error
			if old, err = h.Container(ctx, mesh, "old"); err != nil {
				t.Fatal(err)
			}
			s.waysOut(t, old, peer, outsider)
			if after := table(); after != before {
				t.Errorf("the foreign table was\n%s\nand is\n%s", before, after)
			}
		})
	}
}

// TestForwardPolicyOfAnEarlierBackend: a start with iptables has left the policy DROP for forwarded packets, and dockerd, with
// nftables now, lets it stand. Containers reach each other; what has no way out says so.
func TestForwardPolicyOfAnEarlierBackend(t *testing.T) {
	backends(t)
	s := own(t, 2)
	ctx := t.Context()
	if err := s.joinAll(ctx); err != nil {
		t.Fatal(err)
	}
	h := s.Hosts[0]
	peer := start(t, s.Hosts[1], mesh, "peer")
	restartDockerd(t, h, unix.SIGTERM, testnet.Firewall("iptables"))
	if _, err := h.Run(ctx, "iptables", "-P", "FORWARD", "DROP"); err != nil {
		t.Fatal(err)
	}
	restartDockerd(t, h, unix.SIGTERM, testnet.Firewall("nftables"))
	c, outsider := start(t, h, mesh, "web", "-p", "8080:9000"), start(t, h, "bridge", "outsider")
	s.reach(t, c, peer.Addr)
	s.reach(t, peer, c.Addr)
	world := func() error {
		_, err := c.Exec(ctx, "ping", "-c1", "-W2", testnet.Internet.String())
		return err
	}
	if world() == nil {
		t.Error("the policy DROP lets containers out: the warning about it is wrong")
	}
	warned := func() bool {
		var st control.Status
		if err := h.MeshsecJSON(ctx, &st, "status"); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(strings.Join(st.Warnings, "\n"), "iptables -P FORWARD ACCEPT")
	}
	if !warned() {
		t.Error("status does not say why containers have no way out")
	}
	if _, err := h.Run(ctx, "iptables", "-P", "FORWARD", "ACCEPT"); err != nil {
		t.Fatal(err)
	}
	s.waysOut(t, c, peer, outsider)
	if warned() {
		t.Error("status warns of a policy that is gone")
	}
}
