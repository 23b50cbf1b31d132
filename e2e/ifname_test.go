package e2e

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/engine"
	"github.com/meshsec/meshsec/internal/testnet"
)

const ifNameOption = "com.docker.network.endpoint.ifname"

// speaks reports whether the host's engine speaks this version of Docker's API.
func speaks(t *testing.T, h *testnet.Host, version engine.API) bool {
	t.Helper()
	minor, err := h.API(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return minor >= version.Minor
}

// namesByAddress returns the names of a container's interfaces by their IPv4 addresses.
func namesByAddress(ctx context.Context, c *testnet.Container) (map[string]string, error) {
	out, err := c.Exec(ctx, "ip", "-o", "-4", "addr")
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) > 3 { // 2: eth0    inet 10.42.0.9/16 …
			addr, _, _ := strings.Cut(words[3], "/")
			found[addr] = words[1]
		}
	}
	return found, nil
}

// interfaceNamed fails the test unless the container has the address on an interface of this name.
func interfaceNamed(t *testing.T, c *testnet.Container, addr netip.Addr, name string) {
	t.Helper()
	found, err := namesByAddress(t.Context(), c)
	if err != nil || found[addr.String()] != name {
		t.Errorf("%s has %v, not %v on %s: %v", c.Name, found, addr, name, err)
	}
}

// TestInterfaceNames: interfaces in containers have the names that were asked for, and carry traffic, after all that makes
// them anew; where the engine drops the names, they are refused.
func TestInterfaceNames(t *testing.T) {
	s := shared(t)
	ctx := t.Context()
	h, far := s.Hosts[2], s.Hosts[1]
	const second = "second"
	for _, host := range []*testnet.Host{h, far} {
		network(t, host, second, "--subnet", "10.79.0.0/24")
	}
	option := func(name string) string { return ifNameOption + "=" + name }
	if !speaks(t, h, engine.NamesInterfaces) {
		c := start(t, h, "bridge", "named")
		refused(t, h, []string{"driver option " + ifNameOption, "drops the name", "1.56"}, "network", "connect", "--driver-opt", option("mesh0"), mesh, c.Name)
		refused(t, h, []string{"driver option " + ifNameOption}, "run", "-d", "--name", "never", "--network", "name="+mesh+",driver-opt="+option("mesh0"), testnet.Image)
		remove(t, h, "never")
		return
	}
	peers := map[string]*testnet.Container{mesh: start(t, far, mesh, "peer-mesh"), second: start(t, far, second, "peer-second")}
	docker(t, h, []string{"run", "-d", "--name", "named", "--restart", "always", "--network", "name=" + mesh + ",driver-opt=" + option("mesh0"),
		"--network", "name=" + second + ",driver-opt=" + option("second0"), testnet.Image})
	t.Cleanup(func() { remove(t, h, "named") })
	check := func(what string, names map[string]string) {
		t.Helper()
		for net, name := range names {
			var c *testnet.Container
			eventually(t, "named on "+net+" after "+what, func() (err error) {
				c, err = h.Container(ctx, net, "named")
				return err
			})
			interfaceNamed(t, c, c.Addr, name)
			s.reach(t, c, peers[net].Addr)
			s.reach(t, peers[net], c.Addr)
		}
	}
	both := map[string]string{mesh: "mesh0", second: "second0"}
	check("its start", both)
	docker(t, h, []string{"restart", "-t", "0", "named"})
	check("its restart", both)
	if _, err := h.KillAgent(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the agent", func() error { _, err := h.Meshsec(ctx, "networks"); return err })
	check("the agent's end", both)
	restartDockerd(t, h, unix.SIGTERM) // it starts the container before it answers what it can do
	check("dockerd's restart", both)

	docker(t, h, []string{"network", "disconnect", second, "named"})
	c, err := h.Container(ctx, mesh, "named")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mesh0", "lo", "a/b", "sixteen-letters_", "veth%d"} { // the first is the container's
		refused(t, h, []string{name}, "network", "connect", "--driver-opt", option(name), second, "named")
		if found, err := namesByAddress(ctx, c); err != nil || slices.ContainsFunc(slices.Collect(maps.Keys(found)), func(a string) bool { return strings.HasPrefix(a, "10.79.0.") }) {
			t.Errorf("%s was refused, and there is %v, %v", name, found, err)
		}
	}
	docker(t, h, []string{"network", "connect", "--driver-opt", option("again-0"), second, "named"})
	check("a later connect", map[string]string{mesh: "mesh0", second: "again-0"})
	for _, words := range [][]string{{"lo", "lo"}, {"twice0", "twice0"}} {
		refused(t, h, words[:1], "run", "-d", "--name", "twice", "--network", "name="+mesh+",driver-opt="+option(words[0]),
			"--network", "name="+second+",driver-opt="+option(words[1]), testnet.Image)
		remove(t, h, "twice")
	}
}
