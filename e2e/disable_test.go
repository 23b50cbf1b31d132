package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// TestCase25DisableAndUpgrade: the plugin is disabled under running containers, changed, and enabled again. Nothing crosses in the clear
// meanwhile, and then everything is as it was. TestRegistry has `docker plugin upgrade`, which is the same to the agent:
// another binary in the disabled plugin's root, and the same state.
func TestCase25DisableAndUpgrade(t *testing.T) {
	s := own(t, 2)
	if err := s.joinAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	from, to, flow := fault(t, s)
	founder, member := from.Host, to.Host
	for _, round := range []struct {
		name   string
		host   *testnet.Host
		change func() error
		want   func(control.Status) bool
	}{
		{"the founder", founder, nil, func(s control.Status) bool { return s.Etcd.Embedded }},
		{"another host", member, nil, func(s control.Status) bool { return !s.Etcd.Embedded }},
		{"new settings", member, func() error { return member.SetPlugin(t.Context(), "DATAPLANE=userspace") },
			func(s control.Status) bool { return s.DataPlaneReason == "set by DATAPLANE" }},
		{"new binary", member, func() error { return replaceBinary(t, member) },
			func(s control.Status) bool { return s.Version == "replaced" }},
	} {
		t.Run(round.name, func(t *testing.T) {
			before, links := footprint(t, s), interfaces(t, from, to)
			s.disabled(t, round.host, round.change, from, to)
			if err := flow.Goes(t.Context(), patience); err != nil {
				t.Fatal(err)
			}
			if now := interfaces(t, from, to); now != links {
				t.Errorf("other interfaces:\n%s", testnet.Difference(links, now))
			}
			unchanged(t, s, before)
			eventually(t, "the agent's word", func() error {
				var status control.Status
				if err := round.host.MeshsecJSON(t.Context(), &status, "status"); err != nil {
					return err
				}
				if !round.want(status) || status.Health != control.OK {
					return fmt.Errorf("%+v", status)
				}
				return nil
			})
			s.reach(t, start(t, round.host, mesh, "new"), from.Addr) // Docker finds its driver
			remove(t, round.host, "new")
		})
	}
	for _, h := range s.Hosts {
		readable(t, h)
	}
	t.Logf("figure: %d pings, one each 10 ms, lost by four times disable and enable", flow.Stop())
	s.reach(t, to, from.Addr)
}

// disabled disables the host's plugin, changes something, and enables it. Packets go both ways all the time.
func (s *suite) disabled(t *testing.T, h *testnet.Host, change func() error, from, to *testnet.Container) {
	t.Helper()
	if _, err := h.Docker(t.Context(), "plugin", "disable", "-f", testnet.Plugin); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Meshsec(t.Context(), "status"); err == nil {
		t.Error("the agent still answers")
	}
	for _, pair := range [][2]*testnet.Container{{from, to}, {to, from}} {
		// The kernel's data plane may carry them, the userspace one drops them; the watch sees how they cross.
		_, err := pair[0].Ping(t.Context(), s.watch.Canary, pair[1].Addr, 3)
		t.Logf("figure: disabled on %s, pings of %s are answered: %t", h.Name, pair[0].Name, err == nil)
	}
	if change != nil {
		if err := change(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Docker(t.Context(), "plugin", "enable", testnet.Plugin); err != nil {
		t.Fatal(err)
	}
}

// interfaces is what the containers see of their links: index, peer's index, MAC, MTU, addresses and routes, but not whether
// they have a carrier, which the kernel tells late.
func interfaces(t *testing.T, all ...*testnet.Container) (text string) {
	t.Helper()
	for _, c := range all {
		out, err := c.Exec(t.Context(), "sh", "-c", "cd /sys/class/net/eth0; cat ifindex iflink address mtu; ip -o -4 addr show eth0; ip route | sed 's/ linkdown//'")
		if err != nil {
			t.Fatal(err)
		}
		text += c.Name + ":\n" + out + "\n"
	}
	return text
}

// replaceBinary puts a binary of version "replaced" into the root of the host's disabled plugin.
func replaceBinary(t *testing.T, h *testnet.Host) error {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/root%s/plugins/*/rootfs/meshsec", h.Pid(), h.Data("docker")))
	if len(files) != 1 {
		return fmt.Errorf("%d binaries", len(files))
	}
	root, err := testnet.Root()
	if err != nil {
		return err
	}
	built := filepath.Join(t.TempDir(), "meshsec")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=replaced", "-o", built, "./cmd/meshsec")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w: %s", err, out)
	}
	content, err := os.ReadFile(built)
	if err != nil {
		return err
	}
	if err := os.Remove(files[0]); err != nil { // else a process that still runs it would be in the way
		return err
	}
	return os.WriteFile(files[0], content, 0o755)
}
