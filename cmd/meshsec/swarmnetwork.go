package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/driver"
	"github.com/meshsec/meshsec/engine"
	"github.com/meshsec/meshsec/ipam"
	"github.com/meshsec/meshsec/link"
)

// swarmNetwork is what `meshsec swarm network` is to make.
type swarmNetwork struct {
	name, driver, subnet, gateway string
	ipamOptions, options          map[string]string
	internal, attachable          bool
}

// config is the network that every node has for itself, network the Swarm's. Docker takes the flags of operators at the
// second only, and all others at the first only.
func (w swarmNetwork) config() engine.Network {
	n := engine.Network{Name: w.name + "-config", ConfigOnly: true, Scope: "local", Options: w.options, IPAM: engine.IPAM{Driver: w.driver, Options: w.ipamOptions}}
	if w.subnet == "" {
		return n
	}
	n.IPAM.Config = []engine.Subnet{{Subnet: w.subnet, Gateway: w.gateway}}
	n.Labels = map[string]string{labelSubnet: w.subnet}
	if w.gateway != "" {
		n.Labels[labelGateway] = w.gateway
	}
	return n
}

func (w swarmNetwork) network() engine.Network {
	return engine.Network{Name: w.name, Driver: w.driver, Scope: "swarm", Internal: w.internal, Attachable: w.attachable,
		ConfigFrom: engine.ConfigFrom{Network: w.config().Name}}
}

// make makes what is missing on this node and, if it is a manager, in the Swarm, and returns what was done and what is to be
// done elsewhere. have are the environment's networks, mtu the largest packet of this host's tunnels.
func (w swarmNetwork) make(ctx context.Context, docker *engine.Client, have []control.Network, mtu int) (string, error) {
	pool, err := w.check(mtu)
	if err != nil {
		return "", err
	}
	me, err := docker.Swarm(ctx)
	if err != nil {
		return "", err
	}
	if me.State != "active" {
		why := strings.TrimSpace(strings.Join([]string{"its state is " + cmp.Or(me.State, "unknown"), me.Error}, " "))
		return "", fmt.Errorf("this host is no node of a Swarm (%s); first type docker swarm init, or the docker swarm join that a manager prints", why)
	}
	switch on, err := docker.PluginEnabled(ctx, w.driver); {
	case errors.Is(err, engine.ErrForgotten):
		return "", fmt.Errorf("Docker has no managed plugin %s, the only kind that a Swarm takes; install it, or name it with --driver", w.driver)
	case err != nil:
		return "", err
	case !on:
		return "", fmt.Errorf("the plugin %s is disabled; docker plugin enable it", w.driver)
	}
	var nodes []engine.Node
	if me.Manager { // asked first: without a quorum nothing can be made
		if nodes, err = docker.Nodes(ctx); err != nil {
			return "", err
		}
	}
	list, err := docker.Networks(ctx)
	if err != nil {
		return "", err
	}
	version, err := docker.Version(ctx)
	if err != nil {
		return "", err
	}
	config, network := w.config(), w.network()
	hidden := !version.API.Less(engine.HidesConfigPools) && hideable(list, config)
	if hidden { // there is nothing to compare with
		config.IPAM.Config = nil
	}
	if !me.Manager { // a worker has the Swarm's network only while it has tasks, and knows little of it
		list = slices.DeleteFunc(list, func(n engine.Network) bool { return n.Name == w.name && n.Scope == "swarm" })
	}
	configThere, err := there(list, config)
	networkThere, err2 := there(list, network)
	if err := errors.Join(err, err2); err != nil {
		return "", err
	}
	if !configThere {
		if err := w.room(pool, list, have); err != nil {
			return "", err
		}
	}
	var out strings.Builder
	if err := create(ctx, docker, &out, config, configThere, "on this node"); err != nil {
		return out.String(), err
	}
	if hidden {
		fmt.Fprintf(&out, "Docker %s does not tell the pool of %s, so it was not compared\n", version.Engine, config.Name)
	}
	if !me.Manager {
		fmt.Fprintf(&out, "this node is no manager; the network itself is made on one, once:\n  %s\n", quoted(w.command()))
		return out.String(), nil
	}
	if err := create(ctx, docker, &out, network, networkThere, "in the Swarm"); err != nil {
		return out.String(), err
	}
	out.WriteString(w.elsewhere(nodes, me.NodeID))
	return out.String(), nil
}

// check looks at the words by themselves.
func (w swarmNetwork) check(mtu int) (pool netip.Prefix, err error) {
	err = errors.Join(ipam.Check(ipam.PoolRequest{AddressSpace: ipam.LocalSpace, Pool: w.subnet, Options: w.ipamOptions}), driver.CheckOptions(w.options, mtu))
	if err != nil {
		return pool, err
	}
	if !strings.Contains(w.driver, ":") {
		return pool, fmt.Errorf("--driver %s has no tag, by which a Swarm finds it: %s:latest", w.driver, w.driver)
	}
	if w.subnet != "" {
		pool = netip.MustParsePrefix(w.subnet)
	}
	if w.gateway == "" {
		return pool, nil
	}
	if gateway, err := netip.ParseAddr(w.gateway); err != nil || !pool.IsValid() || !pool.Contains(gateway) {
		return pool, fmt.Errorf("--gateway %s is not an address inside --subnet", w.gateway)
	}
	return pool, nil
}

// there says whether a network is in Docker's list as it is wanted, and what else has its name. Docker fills a missing gateway in.
func there(list []engine.Network, want engine.Network) (bool, error) {
	for _, n := range list {
		if n.Name != want.Name {
			continue
		}
		if n.ConfigOnly != want.ConfigOnly || n.Scope != want.Scope || want.Driver != "" && n.Driver != want.Driver {
			return false, fmt.Errorf("the name %s is taken by Docker's network %.12s (driver %s, scope %s); choose another name, or remove that one", n.Name, n.ID, n.Driver, n.Scope)
		}
		same := n.ConfigFrom == want.ConfigFrom && n.Internal == want.Internal && n.Attachable == want.Attachable
		if want.ConfigOnly {
			n.Driver, n.IPAM.Config = "", configured(n) // engines call its driver "null", which it does not have
			same = n.IPAM.Driver == want.IPAM.Driver && maps.Equal(n.IPAM.Options, want.IPAM.Options) && maps.Equal(n.Options, want.Options) &&
				slices.EqualFunc(n.IPAM.Config, want.IPAM.Config, func(a, b engine.Subnet) bool {
					return a.Subnet == b.Subnet && (b.Gateway == "" || a.Gateway == b.Gateway)
				})
		}
		if !same {
			return false, fmt.Errorf("%s is there, with other options than these: driver %s, addresses from %+v, options %v, configuration %q, internal %v, attachable %v; "+
				"give the same ones, or remove it first", n.Name, cmp.Or(n.Driver, "none"), n.IPAM, n.Options, n.ConfigFrom.Network, n.Internal, n.Attachable)
		}
		return true, nil
	}
	return false, nil
}

// room says what the pool overlaps with. The nodes' plugins would, too, but only once there are tasks.
func (w swarmNetwork) room(pool netip.Prefix, list []engine.Network, have []control.Network) error {
	name := w.ipamOptions[ipam.OptionNetwork]
	if name == "" && !pool.IsValid() {
		name = ipam.DefaultNetwork
	}
	for _, n := range have {
		switch {
		case n.Name == name && pool.IsValid() && n.Pool != pool:
			return fmt.Errorf("network %s of the environment has the pool %v, not %v", n.Name, n.Pool, pool)
		case n.Name == name || pool.IsValid() && n.Pool == pool:
			if n.Here {
				return fmt.Errorf("network %s of the environment is already on this host, as Docker's network %.12s; a host has it once: "+
					"remove that one, or choose another with --ipam-opt %s=NAME", n.Name, n.DockerID, ipam.OptionNetwork)
			}
			return nil // and its pool was free when it was made
		case pool.IsValid() && n.Pool.Overlaps(pool):
			return fmt.Errorf("pool %v overlaps with %v of network %s of the environment", pool, n.Pool, n.Name)
		}
	}
	if !pool.IsValid() {
		return nil
	}
	for _, n := range list {
		for _, s := range n.IPAM.Config {
			if other, err := netip.ParsePrefix(s.Subnet); err == nil && other.Overlaps(pool) {
				return fmt.Errorf("pool %v overlaps with %v of Docker's network %s", pool, other, n.Name)
			}
		}
	}
	what, err := link.HostOverlap(pool)
	if err == nil && what != "" {
		err = fmt.Errorf("pool %v overlaps with %s of this host", pool, what)
	}
	return err
}

// create makes a network unless it is there. Another manager may make it at the same moment: then it is there, too.
func create(ctx context.Context, docker *engine.Client, out *strings.Builder, n engine.Network, exists bool, where string) error {
	if exists {
		fmt.Fprintf(out, "%s is there %s\n", n.Name, where)
		return nil
	}
	wanted := n
	if n.ConfigOnly {
		wanted.Scope = "" // Docker takes none with it
	}
	if err := docker.CreateNetwork(ctx, wanted); err != nil {
		list, err2 := docker.Networks(ctx)
		if ok, _ := there(list, n); err2 != nil || !ok {
			return fmt.Errorf("%s %s: %w", n.Name, where, err)
		}
	}
	fmt.Fprintf(out, "%s made %s\n", n.Name, where)
	return nil
}

// command is what was typed, with what counts.
func (w swarmNetwork) command() []string {
	words := append([]string{"meshsec", "swarm", "network"}, w.flags()...)
	if w.internal {
		words = append(words, "--internal")
	}
	if !w.attachable {
		words = append(words, "--attachable=false")
	}
	if w.driver != defaultDriver {
		words = append(words, "--driver", w.driver)
	}
	return append(words, w.name)
}

// flags are those of the configuration, the same for this program and for Docker's.
func (w swarmNetwork) flags() (words []string) {
	for _, f := range [][2]string{{"--subnet", w.subnet}, {"--gateway", w.gateway}} {
		if f[1] != "" {
			words = append(words, f[0], f[1])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(w.ipamOptions)) {
		words = append(words, "--ipam-opt", k+"="+w.ipamOptions[k])
	}
	for _, k := range slices.Sorted(maps.Keys(w.options)) {
		words = append(words, "--opt", k+"="+w.options[k])
	}
	return words
}

// elsewhere says what to type on the other nodes.
func (w swarmNetwork) elsewhere(nodes []engine.Node, self string) string {
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n engine.Node) bool { return n.ID == self })
	if len(nodes) == 0 {
		return "this is the only node; on each further one repeat this command\n"
	}
	out := "on each other node, unless it was done there, and on those that come later, type\n  " +
		quoted(slices.Concat([]string{"docker", "network", "create", "--config-only", "--ipam-driver", w.driver}, w.flags(), w.labels(), []string{w.config().Name})) + "\nthe other nodes are\n"
	for _, n := range nodes {
		role := "worker"
		if n.Manager {
			role = "manager"
		}
		out += fmt.Sprintf("  %s (%s, %s)\n", n.Host, n.Addr, role)
	}
	return out
}
