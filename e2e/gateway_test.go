package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/engine"
	"github.com/meshsec/meshsec/internal/testnet"
)

// TestGatewayPriority: the way out is by the network of the highest priority among those that have one. A mesh has none, so
// its own priority does not count, and the container's other networks are reached whatever it is.
func TestGatewayPriority(t *testing.T) {
	s := shared(t)
	ctx := t.Context()
	h, far := s.Hosts[0], s.Hosts[1]
	if !speaks(t, h, engine.API{Major: 1, Minor: 48}) {
		t.Skip("this engine has no gw-priority")
	}
	const second = "second"
	for _, host := range []*testnet.Host{h, far} {
		network(t, host, second, "--subnet", "10.79.0.0/24")
	}
	for name, subnet := range map[string]string{"low": "172.31.1.0/24", "high": "172.31.2.0/24"} {
		docker(t, h, []string{"network", "create", "--subnet", subnet, name})
		t.Cleanup(func() { removeNetwork(t, h, name) })
	}
	peers := []*testnet.Container{start(t, far, mesh, "peer-mesh"), start(t, far, second, "peer-second")}
	out := func(c *testnet.Container, by string) {
		t.Helper()
		eventually(t, c.Name+" has its way out by "+by, func() error {
			routes, err := c.Exec(ctx, "ip", "route")
			if err == nil && !strings.Contains(routes, "default via "+by+" ") {
				err = errors.New(routes)
			}
			if err == nil {
				_, err = c.Exec(ctx, "ping", "-c1", "-W2", testnet.Internet.String())
			}
			return err
		})
		for _, peer := range peers {
			s.reach(t, c, peer.Addr)
		}
	}
	run := func(name string, networks ...string) *testnet.Container {
		t.Helper()
		words := []string{"run", "-d", "--name", name}
		for _, n := range networks {
			words = append(words, "--network", "name="+n)
		}
		docker(t, h, append(words, testnet.Image))
		t.Cleanup(func() { remove(t, h, name) })
		c, err := h.Container(ctx, mesh, name)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	only := run("only-meshes", mesh+",gw-priority=-1", second+",gw-priority=100")
	gwbridge, err := h.Docker(ctx, "network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "docker_gwbridge")
	if err != nil {
		t.Fatal(err)
	}
	out(only, gwbridge)
	c := run("with-bridges", mesh+",gw-priority=100", second, "low,gw-priority=1", "high,gw-priority=2")
	out(c, "172.31.2.1")
	docker(t, h, []string{"network", "disconnect", "high", c.Name})
	out(c, "172.31.1.1")
	docker(t, h, []string{"network", "disconnect", "low", c.Name})
	out(c, gwbridge)
	docker(t, h, []string{"network", "connect", "--gw-priority", "-5", "high", c.Name})
	out(c, "172.31.2.1")
}

// TestAddressWithoutSubnet: from 29 on --ip is taken on a network that was made without --subnet. Engines before refuse it.
func TestAddressWithoutSubnet(t *testing.T) {
	s := shared(t)
	h, far := s.Hosts[0], s.Hosts[1]
	const free = "free"
	for _, host := range []*testnet.Host{h, far} {
		network(t, host, free, "--ipam-opt", "meshsec.network="+free)
	}
	pool := poolOf(t, h, free)
	wish := pool.Addr().Next().Next().Next()
	if !speaks(t, h, engine.API{Major: 1, Minor: 52}) {
		refused(t, h, []string{"user configured subnet"}, "run", "-d", "--name", "fixed", "--network", free, "--ip", wish.String(), testnet.Image)
		remove(t, h, "fixed")
		return
	}
	c := start(t, h, free, "fixed", "--ip", wish.String())
	if c.Addr != wish {
		t.Errorf("--ip %v gave %v", wish, c.Addr)
	}
	s.reach(t, start(t, far, free, "peer"), wish)
	eventually(t, "the holder's name", func() error {
		defer remove(t, far, "thief")
		return refusal(t, far, []string{fmt.Sprint(wish), "fixed"}, "run", "-d", "--name", "thief", "--network", free, "--ip", wish.String(), testnet.Image)
	})
}
