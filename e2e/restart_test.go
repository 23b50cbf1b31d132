package e2e

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/internal/testnet"
)

// restartDockerd stops the host's dockerd by a signal and starts it with flags.
func restartDockerd(t *testing.T, h *testnet.Host, sig unix.Signal, flags ...string) {
	t.Helper()
	if err := errors.Join(h.StopDockerd(t.Context(), sig), h.StartDockerd(t.Context(), flags...)); err != nil {
		t.Fatal(err)
	}
}

// TestCase20LiveRestore: containers that outlive their dockerd are reached while it is away and afterwards, and end as others do.
func TestCase20LiveRestore(t *testing.T) {
	s := shared(t)
	h := s.Hosts[2]
	settled(t, s)
	before := footprint(t, s)
	peer := start(t, s.Hosts[1], mesh, "peer")
	const live = "--live-restore"
	restartDockerd(t, h, unix.SIGTERM, live)
	t.Cleanup(func() { // the other tests' containers end with their dockerd
		ctx, cancel := context.WithTimeout(context.Background(), cleanup)
		defer cancel()
		if err := errors.Join(h.StopDockerd(ctx, unix.SIGTERM), h.StartDockerd(ctx)); err != nil {
			t.Error(err)
		}
	})
	c := start(t, h, mesh, "survivor")
	s.reach(t, peer, c.Addr)
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := h.StopDockerd(t.Context(), sig); err != nil {
			t.Fatal(err)
		}
		s.reach(t, peer, c.Addr)
		if err := h.StartDockerd(t.Context(), live); err != nil {
			t.Fatal(err)
		}
		s.reach(t, c, peer.Addr)
		if now := address(t, h, mesh, c.Name); now != c.Addr {
			t.Errorf("after %v it has %v instead of %v", sig, now, c.Addr)
		}
		docker(t, h, []string{"network", "connect", "bridge", c.Name}, []string{"network", "disconnect", "bridge", c.Name})
		s.reach(t, start(t, h, mesh, "next"), peer.Addr)
		remove(t, h, "next")
	}
	remove(t, h, c.Name)
	remove(t, s.Hosts[1], "peer")
	leftNothing(t, s, before)
}

// TestCase24DisabledAfterARestart: a dockerd that was restarted has forgotten that the plugin is in use, and disables it. Enabled again
// it is as before.
func TestCase24DisabledAfterARestart(t *testing.T) {
	s := shared(t)
	h := s.Hosts[2]
	c, peer := start(t, h, mesh, "back", "--restart", "always", "--ip", "10.42.6.7"), start(t, s.Hosts[1], mesh, "peer")
	s.reach(t, peer, c.Addr)
	const counted = "counted" // Docker counts who uses the plugin by its whole name
	docker(t, h, []string{"network", "create", "-d", testnet.Plugin + ":latest", "--ipam-driver", testnet.Plugin + ":latest",
		"--ipam-opt", "meshsec.network=" + counted, counted})
	t.Cleanup(func() { removeNetwork(t, h, counted) })
	refused(t, h, []string{"in use"}, "plugin", "disable", testnet.Plugin)
	restartDockerd(t, h, unix.SIGTERM)
	docker(t, h, []string{"plugin", "disable", testnet.Plugin}, []string{"plugin", "enable", testnet.Plugin})
	s.reach(t, peer, c.Addr)
	s.reach(t, start(t, h, mesh, "new"), peer.Addr)
}

// reboot is what the end and the new start of the machine leave of a host whose dockerd was killed: no process, nothing in /run, no
// mount, no link but the underlay's. The process that holds the test host, and its child head, have to stay.
const reboot = `
for p in /proc/[0-9]*; do
	id=${p#/proc/}
	[ $id = 1 ] || [ $id = $$ ] || [ "$(cat $p/comm 2>/dev/null)" = head ] || kill -9 $id 2>/dev/null
done
awk '{print $2}' /proc/mounts | grep -E "^(/run/|$1/)" | sort -r | while read m; do umount -l "$m"; done
find /run -mindepth 1 -delete
mkdir -p /run/docker/plugins /run/lock
ip -o link show | awk -F'[ @:]+' '{print $2}' | grep -vxE 'lo|eth0' | while read l; do ip link del "$l" 2>/dev/null; done
nft flush ruleset
`

func rebootHost(t *testing.T, h *testnet.Host) {
	t.Helper()
	if err := h.StopDockerd(t.Context(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if out, err := h.Run(t.Context(), "sh", "-c", reboot, "reboot", h.Data("docker")); err != nil {
		t.Fatal(err, out)
	}
	if _, err := h.RunRouter(t.Context(), "true"); err == nil {
		t.Fatal("the router is still there, so this is no reboot")
	}
	if err := h.StartDockerd(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestCase32Reboot: all links, namespaces and rules are gone, the state is there. A container with a restart policy comes back, and of
// what does not come back nothing is left.
func TestCase32Reboot(t *testing.T) {
	s := shared(t)
	h := s.Hosts[2]
	settled(t, s)
	before := footprint(t, s)
	peer := start(t, s.Hosts[1], mesh, "peer")
	c := start(t, h, mesh, "back", "--restart", "always", "--ip", "10.42.6.8")
	start(t, h, mesh, "ends")
	s.reach(t, peer, c.Addr)
	rebootHost(t, h)
	s.reach(t, peer, c.Addr)
	if _, err := c.Transfer(t.Context(), s.watch.Canary, peer.Addr, megabyte); err != nil {
		t.Error(err)
	}
	s.reach(t, start(t, h, mesh, "new"), peer.Addr)
	remove(t, h, "back", "ends", "new")
	remove(t, s.Hosts[1], "peer")
	leftNothing(t, s, before)
}
