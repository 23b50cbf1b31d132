package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/engine"
	"github.com/meshsec/meshsec/internal/testnet"
)

// The tests of this file hold a network of meshsec to what Docker promises about each network, whatever its driver. The
// table in docs/docker.md names them.

// listed are the IDs of the host's networks of a name.
func listed(t *testing.T, h *testnet.Host, name string) []string {
	t.Helper()
	out, err := h.Docker(t.Context(), "network", "ls", "--no-trunc", "--format", "{{.ID}}", "--filter", "name=^"+name+"$")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(out)
}

// attached are the addresses that Docker's list of a network has for its containers, by their names.
func attached(t *testing.T, h *testnet.Host, network string) map[string]string {
	t.Helper()
	var n struct {
		Containers map[string]struct{ Name, IPv4Address string }
	}
	if err := h.Inspect(t.Context(), "network", network, &n); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, c := range n.Containers {
		found[c.Name] = c.IPv4Address
	}
	return found
}

// TestPromisesAboutNetworks: names, IDs, networks in use, and pruning.
func TestPromisesAboutNetworks(t *testing.T) {
	s := shared(t)
	h := s.Hosts[0]
	settled(t, s)
	before := footprint(t, s)
	const name = "promised"
	docker(t, h, with("--subnet", "10.79.0.0/24", "--label", name, name))
	ids := listed(t, h, name)
	refused(t, h, []string{name, "already exists"}, with("--subnet", "10.79.1.0/24", name)...)
	if got := listed(t, h, name); !slices.Equal(got, ids) || len(ids) != 1 {
		t.Errorf("networks of one name: %v, then %v", ids, got)
	}
	for _, other := range []string{"10-79-1-0-24", "10.79.1.0-24"} {
		if pool, ok := environment(t, h, other); ok {
			t.Errorf("what was refused is in the environment, with %v", pool)
		}
	}
	for _, ref := range []string{name, ids[0], ids[0][:16]} {
		if out, err := h.Docker(t.Context(), "network", "inspect", "--format", "{{.Id}} {{.Driver}}", ref); err != nil || !strings.HasPrefix(out, ids[0]+" meshsec") {
			t.Errorf("inspect %s: %s, %v", ref, out, err)
		}
	}
	c := start(t, h, name, "user")
	refused(t, h, []string{"active endpoints"}, "network", "rm", name)
	docker(t, h, []string{"network", "create", "--label", name, "other"}, []string{"network", "prune", "-f", "--filter", "label=" + name})
	if got := listed(t, h, "other"); len(got) != 0 {
		t.Errorf("a network without containers was not pruned: %v", got)
	}
	if got := listed(t, h, name); !slices.Equal(got, ids) {
		t.Errorf("a network in use was removed: %v", got)
	}
	s.reach(t, start(t, h, name, "peer"), c.Addr)
	remove(t, h, "user", "peer")
	out, err := h.Docker(t.Context(), "network", "prune", "-f", "--filter", "label="+name)
	if err != nil || !strings.Contains(out, name) || len(listed(t, h, name)) != 0 {
		t.Errorf("prune: %s, %v", out, err)
	}
	leftNothing(t, s, before)
	eventually(t, "the end of the network's facts", func() error {
		if pool, ok := environment(t, h, "10.79.0.0-24"); ok {
			return fmt.Errorf("the environment still has it, with %v", pool)
		}
		return nil
	})
}

// TestPromisesAboutConnecting: what is refused changes nothing, and what is disconnected leaves nothing.
func TestPromisesAboutConnecting(t *testing.T) {
	s := shared(t)
	ctx := t.Context()
	h := s.Hosts[0]
	const name = "promised"
	network(t, h, name, "--subnet", "10.79.0.0/24")
	c := start(t, h, name, "member")
	hosts := func() string {
		t.Helper()
		out, err := c.Exec(ctx, "cat", "/etc/hosts")
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(out, "\t", " ")
	}
	if line := c.Addr.String() + " member"; !strings.Contains(hosts(), line) {
		t.Errorf("/etc/hosts has no %q: %s", line, hosts())
	}
	refused(t, h, nil, "network", "connect", name, c.Name)
	refused(t, h, nil, "network", "connect", "--ip", "10.80.0.9", name, c.Name)
	if got := attached(t, h, name)[c.Name]; got != c.Addr.String()+"/24" {
		t.Errorf("connected twice, it has %s, not %v", got, c.Addr)
	}
	refused(t, h, []string{"is not connected"}, "network", "disconnect", mesh, c.Name)
	for _, flags := range [][]string{{"--ip", "10.90.0.9"}, {"--driver-opt", "colour=blue"}} {
		refused(t, h, nil, append(append([]string{"network", "connect"}, flags...), mesh, c.Name)...)
		if got, ok := attached(t, h, mesh)[c.Name]; ok {
			t.Errorf("%v was refused, and it is attached with %s", flags, got)
		}
	}
	refused(t, h, nil, "run", "-d", "--name", "outside", "--network", name, "--ip", "10.80.0.9", testnet.Image)
	remove(t, h, "outside")

	docker(t, h, []string{"network", "connect", "--ip", "10.42.7.9", mesh, c.Name})
	on := netip.MustParseAddr("10.42.7.9")
	interfaceNamed(t, c, on, "eth2") // eth1 is docker_gwbridge's
	if !strings.Contains(hosts(), "10.42.7.9 member") {
		t.Errorf("/etc/hosts after connect: %s", hosts())
	}
	docker(t, h, []string{"network", "disconnect", mesh, c.Name})
	if found, err := namesByAddress(ctx, c); err != nil || found[on.String()] != "" {
		t.Errorf("disconnected, it has %v, %v", found, err)
	}
	if strings.Contains(hosts(), "10.42.7.9") && speaks(t, h, engine.HidesConfigPools) { // 20.10 leaves the line
		t.Errorf("/etc/hosts after disconnect: %s", hosts())
	}
	if _, err := c.Attachment(ctx, mesh); err == nil {
		t.Error("inspect still lists the network")
	}

	docker(t, h, []string{"stop", "-t", "0", c.Name})
	docker(t, h, []string{"network", "connect", name, c.Name}) // of a stopped container: accepted, and changes nothing
	docker(t, h, []string{"start", c.Name})
	if _, err := h.Container(ctx, name, c.Name); err != nil {
		t.Error(err)
	}
	full := start(t, h, name, "full", "--hostname", "full.example.com")
	if out, err := full.Exec(ctx, "cat", "/etc/hosts"); err != nil || !strings.Contains(strings.ReplaceAll(out, "\t", " "), full.Addr.String()+" full.example.com full") {
		t.Errorf("/etc/hosts: %s, %v", out, err)
	}
}

// TestPromisesAboutAddresses: containers have the addresses that were asked for, inside and by inspect.
func TestPromisesAboutAddresses(t *testing.T) {
	s := shared(t)
	h := s.Hosts[0]
	const mac = "02:11:22:33:44:66"
	words := []string{"run", "-d", "--name", "asked", "--network", mesh, "--ip", "10.42.7.10", "--mac-address", mac}
	if speaks(t, h, engine.API{Major: 1, Minor: 44}) { // since then the address is the endpoint's
		words = []string{"run", "-d", "--name", "asked", "--network", "name=" + mesh + ",ip=10.42.7.10,mac-address=" + mac}
	}
	docker(t, h, append(words, testnet.Image))
	t.Cleanup(func() { remove(t, h, "asked") })
	c, err := h.Container(t.Context(), mesh, "asked")
	if err != nil {
		t.Fatal(err)
	}
	if c.Addr.String() != "10.42.7.10" || c.MAC != mac {
		t.Errorf("inspect: %v, %s", c.Addr, c.MAC)
	}
	interfaceNamed(t, c, c.Addr, "eth0")
	if out, err := c.Exec(t.Context(), "ip", "link", "show", "eth0"); err != nil || !strings.Contains(out, mac) {
		t.Errorf("inside: %s, %v", out, err)
	}
}

// TestPromisesAboutConfigurations: a network that is made from a configuration has its pool, and holds it.
func TestPromisesAboutConfigurations(t *testing.T) {
	s := shared(t)
	h := s.Hosts[0]
	docker(t, h, []string{"network", "create", "--config-only", "--ipam-driver", "meshsec", "--subnet", "10.79.0.0/24", "-o", "meshsec.mtu=1300", "conf"})
	t.Cleanup(func() { removeNetwork(t, h, "conf") })
	if out, err := h.Docker(t.Context(), "network", "inspect", "--format", "{{.ConfigOnly}}", "conf"); err != nil || out != "true" {
		t.Errorf("inspect: %s, %v", out, err)
	}
	refused(t, h, nil, "run", "-d", "--name", "nowhere", "--network", "conf", testnet.Image)
	remove(t, h, "nowhere")
	refused(t, h, []string{"missing"}, "network", "create", "-d", "meshsec", "--config-from", "missing", "made")
	if got := listed(t, h, "made"); len(got) != 0 {
		t.Errorf("made from nothing: %v", got)
	}
	docker(t, h, []string{"network", "create", "-d", "meshsec", "--config-from", "conf", "made"})
	t.Cleanup(func() { removeNetwork(t, h, "made") })
	if pool := poolOf(t, h, "made"); pool.String() != "10.79.0.0/24" {
		t.Errorf("inspect: %v", pool)
	}
	c := start(t, h, "made", "configured")
	if !netip.MustParsePrefix("10.79.0.0/24").Contains(c.Addr) {
		t.Errorf("it has %v", c.Addr)
	}
	if out, err := c.Exec(t.Context(), "ip", "link", "show", "eth0"); err != nil || !strings.Contains(out, "mtu 1300") {
		t.Errorf("the configuration's option: %s, %v", out, err)
	}
	refused(t, h, nil, "network", "rm", "conf")
	if got := listed(t, h, "conf"); len(got) != 1 {
		t.Errorf("removed while in use: %v", got)
	}
}
