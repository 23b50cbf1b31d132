package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/internal/testnet"
)

// engine starts and stops containers, by number, on the environment's network: testnet.Engine where there is no dockerd.
type engine interface {
	CreateNetwork(ctx context.Context) error
	// StartContainer may return a container together with an error; that has to be stopped.
	StartContainer(ctx context.Context, i int) (*testnet.Container, error)
	StopContainer(ctx context.Context, c *testnet.Container, i int) error
}

// dockerd is a host's real one, with the agent beside it.
type dockerd struct{ host *testnet.Host }

const dockerNetwork = "mesh"

// liveRestore lets containers live when their dockerd dies, so that there is traffic to look after.
const liveRestore = "--live-restore"

// CreateNetwork waits for an agent that is still starting.
func (d dockerd) CreateNetwork(ctx context.Context) error {
	return testnet.Until(ctx, patience, func() error {
		_, err := d.host.Docker(ctx, "network", "create", "-d", "meshsec", "--ipam-driver", "meshsec", dockerNetwork)
		return err
	})
}

func (d dockerd) StartContainer(ctx context.Context, i int) (*testnet.Container, error) {
	name := fmt.Sprintf("c%d", i)
	c, err := d.host.StartContainer(ctx, dockerNetwork, name)
	if err != nil {
		return &testnet.Container{Host: d.host, Name: name}, err
	}
	return c, nil
}

// StopContainer removes the container. One that is not there is no error.
func (d dockerd) StopContainer(ctx context.Context, c *testnet.Container, _ int) error {
	if err := c.Remove(ctx); err != nil && !strings.Contains(err.Error(), "No such container") {
		return err
	}
	return nil
}

// addrs are those that Docker gives its containers.
func (d dockerd) addrs(ctx context.Context) ([]netip.Addr, error) {
	var v struct {
		Containers map[string]struct{ IPv4Address netip.Prefix }
	}
	if err := d.host.Inspect(ctx, "network", dockerNetwork, &v); err != nil {
		return nil, err
	}
	var all []netip.Addr
	for _, c := range v.Containers {
		all = append(all, c.IPv4Address.Addr())
	}
	return all, nil
}

// addrs are those of the node's containers.
func (n *node) addrs(ctx context.Context) ([]netip.Addr, error) {
	d, ok := n.engine.(dockerd)
	if !ok {
		return []netip.Addr{n.container.Addr}, nil
	}
	all, err := d.addrs(ctx)
	if err == nil && !slices.Contains(all, n.container.Addr) {
		err = fmt.Errorf("%s: Docker knows no container at %s", n.host.Name, n.container.Addr)
	}
	return all, err
}

func killDockerd(ctx context.Context, r *rig, f Fault) error {
	return r.nodes[f.Host].host.StopDockerd(ctx, unix.SIGKILL)
}

func startDockerd(ctx context.Context, r *rig, f Fault) error {
	return r.nodes[f.Host].host.StartDockerd(ctx, liveRestore)
}

// useDocker has the node's containers made by its dockerd.
func (n *node) useDocker(ctx context.Context) error {
	n.engine = dockerd{n.host}
	return errors.Join(n.host.StopDockerd(ctx, unix.SIGTERM), n.host.StartDockerd(ctx, liveRestore))
}

// dockerdOf is what a fault of a host's dockerd takes; its start asks the agent.
func dockerdOf(f Fault) []string {
	return append(agent(f), "dockerd "+name(f.Host))
}

// dockerLogs are the dockerds' last lines.
func (r *rig) dockerLogs(lines int) string {
	var b strings.Builder
	for _, n := range r.nodes {
		if _, ok := n.engine.(dockerd); ok {
			fmt.Fprintf(&b, "--- %s dockerd\n%s\n", n.host.Name, n.host.DockerdLog(lines))
		}
	}
	return b.String()
}
