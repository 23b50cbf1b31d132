package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/meshsec/meshsec/internal/testnet"
)

// containers starts one on each host, on the network.
func containers(ctx context.Context, c *testnet.Cluster, name, network string) (*way, error) {
	w := &way{name: name}
	return w, each(c, func(i int, h *testnet.Host) (err error) {
		w.ends[i], err = h.StartContainer(ctx, network, network+"-box")
		return err
	})
}

// meshsec is this project's kernel plane, with what a user gets who sets nothing.
func meshsec(ctx context.Context, c *testnet.Cluster) (*way, error) {
	a, b := c.Hosts[0], c.Hosts[1]
	if err := a.InstallPlugin(ctx, "DATAPLANE=kernel"); err != nil {
		return nil, err
	}
	token, err := a.Token(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.InstallPlugin(ctx, "DATAPLANE=kernel", "JOIN="+token); err != nil {
		return nil, err
	}
	err = each(c, func(_ int, h *testnet.Host) error {
		return testnet.Patiently(ctx, func() error {
			_, err := h.Docker(ctx, "network", "create", "-d", "meshsec", "--ipam-driver", "meshsec", "mesh")
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return containers(ctx, c, "meshsec", "mesh")
}

// overlay is Docker's own: VXLAN in ESP transport mode, of a swarm of both hosts.
func overlay(ctx context.Context, c *testnet.Cluster) (*way, error) {
	a, b := c.Hosts[0], c.Hosts[1]
	if _, err := a.Docker(ctx, "swarm", "init", "--advertise-addr", a.Addr.String()); err != nil {
		return nil, err
	}
	token, err := a.Docker(ctx, "swarm", "join-token", "-q", "worker")
	if err != nil {
		return nil, err
	}
	if _, err := b.Docker(ctx, "swarm", "join", "--advertise-addr", b.Addr.String(), "--token", token, a.Addr.String()+":2377"); err != nil {
		return nil, err
	}
	if _, err := a.Docker(ctx, "network", "create", "-d", "overlay", "--opt", "encrypted", "--attachable", "secret"); err != nil {
		return nil, err
	}
	return containers(ctx, c, "Docker's encrypted overlay", "secret")
}

// routing is bridge networks whose subnets the hosts have routes to.
func routing(ctx context.Context, c *testnet.Cluster) (*way, error) {
	return bridges(ctx, c, "plain routing", "plain", 1500, func(i int, other *testnet.Host) string {
		return fmt.Sprintf("ip route add %s via %s", subnet("plain", 1-i), other.Addr)
	})
}

// wireguard is the same with the routes through the kernel's WireGuard.
func wireguard(ctx context.Context, c *testnet.Cluster) (*way, error) {
	const mtu = 1420 // what wg-quick sets on an underlay of 1,500
	var public [2]string
	err := each(c, func(i int, h *testnet.Host) (err error) {
		public[i], err = h.Run(ctx, "sh", "-ec", fmt.Sprintf(`modprobe wireguard; ip link add wg0 mtu %d type wireguard
			umask 077; wg genkey > %s/wg.key; wg set wg0 listen-port 51820 private-key %[2]s/wg.key
			wg show wg0 public-key`, mtu, h.Dir()))
		return err
	})
	if err != nil {
		return nil, err
	}
	return bridges(ctx, c, "WireGuard", "guard", mtu, func(i int, other *testnet.Host) string {
		there := subnet("guard", 1-i)
		return fmt.Sprintf("wg set wg0 peer %s endpoint %s:51820 allowed-ips %s; ip link set wg0 up; ip route add %[3]s dev wg0",
			public[1-i], other.Addr, there)
	})
}

// bridges makes a bridge network on each host, whose subnets reach each other by what connect gives as a shell command.
func bridges(ctx context.Context, c *testnet.Cluster, name, network string, mtu int, connect func(i int, other *testnet.Host) string) (*way, error) {
	err := each(c, func(i int, h *testnet.Host) error {
		_, err := h.Docker(ctx, "network", "create", "--subnet", subnet(network, i), "-o", "com.docker.network.bridge.enable_ip_masquerade=false",
			"-o", fmt.Sprintf("com.docker.network.driver.mtu=%d", mtu), network)
		if err != nil {
			return err
		}
		_, err = h.Run(ctx, "sh", "-ec", strings.Join([]string{"iptables -I DOCKER-USER -j ACCEPT", connect(i, c.Hosts[1-i])}, "; "))
		return err
	})
	if err != nil {
		return nil, err
	}
	return containers(ctx, c, name, network)
}

// subnet is that of a bridge network on host i.
func subnet(network string, i int) string {
	return fmt.Sprintf("10.%d.%d.0/24", map[string]int{"plain": 201, "guard": 202}[network], i)
}
