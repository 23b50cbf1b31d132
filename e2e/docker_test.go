package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/internal/testnet"
)

// TestCase17RunFlags: --mac-address, --network-alias and inspect are as on a bridge network.
func TestCase17RunFlags(t *testing.T) {
	s := shared(t)
	const mac = "02:11:22:33:44:55"
	c := start(t, s.Hosts[0], mesh, "flags", "--mac-address", mac, "--network-alias", "other")
	a, err := c.Attachment(t.Context(), mesh)
	if err != nil {
		t.Fatal(err)
	}
	if a.MacAddress != mac || a.IPAddress != c.Addr.String() || a.IPPrefixLen != 16 || !slices.Contains(a.Aliases, "other") {
		t.Errorf("inspect: %+v", a)
	}
	links, err := c.Exec(t.Context(), "ip", "addr", "show", "eth0")
	if err != nil || !strings.Contains(links, mac) || !strings.Contains(links, c.Addr.String()+"/16") {
		t.Errorf("inside: %s, %v", links, err)
	}
	near, far := start(t, s.Hosts[0], mesh, "near"), start(t, s.Hosts[1], mesh, "far")
	s.reach(t, far, c.Addr)
	s.reach(t, c, far.Addr)
	if out, err := near.Exec(t.Context(), "ping", "-c1", "-W2", "other"); err != nil {
		t.Errorf("the alias: %v: %s", err, out)
	}
	var network struct {
		Driver     string
		Containers map[string]struct{ Name, IPv4Address, MacAddress string }
	}
	if err := s.Hosts[0].Inspect(t.Context(), "network", mesh, &network); err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(network)
	if !strings.Contains(string(text), c.Addr.String()+"/16") || !strings.Contains(string(text), mac) {
		t.Errorf("network inspect: %s", text)
	}
}

// TestCase18Connect: a running container is connected to a second network and disconnected from it.
func TestCase18Connect(t *testing.T) {
	s := shared(t)
	ctx := t.Context()
	const blue = "blue"
	for _, h := range s.Hosts[:2] {
		if _, err := h.Docker(ctx, with("--subnet", "10.77.0.0/16", "--ipam-opt", "meshsec.network="+blue, blue)...); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { removeNetwork(t, h, blue) })
	}
	far := start(t, s.Hosts[1], blue, "far")
	c := start(t, s.Hosts[0], mesh, "conn")
	if _, err := c.Ping(ctx, s.watch.Canary, far.Addr, 1); err == nil {
		t.Error("one network reaches another")
	}
	for range 2 {
		if _, err := s.Hosts[0].Docker(ctx, "network", "connect", "--ip", "10.77.3.4", blue, "conn"); err != nil {
			t.Fatal(err)
		}
		if a, err := c.Attachment(ctx, blue); err != nil || a.IPAddress != "10.77.3.4" {
			t.Errorf("connected: %+v, %v", a, err)
		}
		s.reach(t, c, far.Addr)
		if _, err := c.Transfer(ctx, s.watch.Canary, far.Addr, megabyte); err != nil {
			t.Error(err)
		}
		if _, err := s.Hosts[0].Docker(ctx, "network", "disconnect", blue, "conn"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Ping(ctx, s.watch.Canary, far.Addr, 1); err == nil {
			t.Error("a disconnected container still reaches the network")
		}
	}
}

// TestOutside: containers reach the world through docker_gwbridge, and published ports are reached from there.
func TestOutside(t *testing.T) {
	s := shared(t)
	ctx := t.Context()
	h := s.Hosts[0]
	c := start(t, h, mesh, "web", "-p", "8080:9000")
	if out, err := c.Exec(ctx, "ping", "-c1", "-W2", testnet.Internet.String()); err != nil {
		t.Errorf("outside: %v: %s", err, out)
	}
	port, err := h.Docker(ctx, "port", "web", "9000")
	if err != nil || !strings.Contains(port, "8080") {
		t.Errorf("docker port: %q, %v", port, err)
	}
	s.answers(t, h, "8080")
	s.reach(t, start(t, s.Hosts[1], mesh, "far"), c.Addr)
}

// TestWayOutAfterPrune: `docker network prune` removes docker_gwbridge while no container uses it. The next container reaches
// the world all the same, and its published port is reached from there.
func TestWayOutAfterPrune(t *testing.T) {
	s := own(t, 1)
	if err := s.joinAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := s.Hosts[0]
	const kept = "kept"
	network(t, h, kept, "--label", kept, "--ipam-opt", "meshsec.network="+kept)
	for range 2 {
		c := start(t, h, kept, "web", "-p", "8080:9000")
		eventually(t, "the world", func() error {
			_, err := c.Exec(t.Context(), "ping", "-c1", "-W2", testnet.Internet.String())
			return err
		})
		s.answers(t, h, "8080")
		remove(t, h, c.Name)
		docker(t, h, []string{"network", "prune", "-f", "--filter", "label!=" + kept})
		refused(t, h, []string{"docker_gwbridge"}, "network", "inspect", "docker_gwbridge")
	}
}

// TestCase17Internal: on an internal network there is no other way than the mesh.
func TestCase17Internal(t *testing.T) {
	s := shared(t)
	const inner = "inner"
	var all []*testnet.Container
	for i, h := range s.Hosts[:2] {
		if _, err := h.Docker(t.Context(), with("--internal", "--subnet", "10.77.0.0/16", inner)...); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { removeNetwork(t, h, inner) })
		all = append(all, start(t, h, inner, fmt.Sprintf("inside%d", i)))
	}
	s.reach(t, all[0], all[1].Addr)
	routes, err := all[0].Exec(t.Context(), "ip", "route")
	if err != nil || strings.Contains(routes, "default") {
		t.Errorf("routes: %s, %v", routes, err)
	}
}
