package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/engine"
)

func swarmCommand(a *ask) *cobra.Command {
	c := &cobra.Command{Use: "swarm", Short: "networks of meshsec in a Docker Swarm", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	c.AddCommand(swarmNetworkCommand(a))
	return c
}

func swarmNetworkCommand(a *ask) *cobra.Command {
	w := swarmNetwork{}
	docker := ""
	c := &cobra.Command{Use: "network NAME", Short: "make a network for a Swarm's services: on a manager, then as it says on each other node", Args: cobra.ExactArgs(1),
		Long: "Makes the configuration NAME-config on this node and, on a manager, the Swarm's network NAME from it; then prints what to\n" +
			"type on which other node, since Docker lets no node make a configuration for another. What is there already is left\n" +
			"as it is, so the command may be repeated anywhere. Nothing is made if something of another kind has the name.\n" +
			"Use services with --endpoint-mode dnsrr, or reach them by tasks.NAME: no plugin's network has virtual IPs.",
		RunE: func(cmd *cobra.Command, args []string) error {
			w.name = args[0]
			ctx := cmd.Context()
			if ctx == nil {
				ctx = context.Background()
			}
			var s control.Status
			if err := a.get(ctx, "status", &s); err != nil {
				return err
			}
			var networks []control.Network
			if err := a.get(ctx, "networks", &networks); err != nil {
				return err
			}
			text, err := w.make(ctx, engine.New(docker), networks, s.MTU)
			fmt.Fprint(cmd.OutOrStdout(), text)
			return err
		}}
	f := c.Flags()
	f.StringVar(&w.subnet, "subnet", "", "the pool, such as 10.60.0.0/16 (default: that of the environment's network)")
	f.StringVar(&w.gateway, "gateway", "", "the gateway's address, the same on every node (default: the pool's first)")
	f.StringToStringVar(&w.ipamOptions, "ipam-opt", nil, "as for docker network create: meshsec.network=NAME (default: `default`), meshsec.block=BITS")
	f.StringToStringVarP(&w.options, "opt", "o", nil, "as for docker network create: meshsec.mtu=BYTES, meshsec.sticky=off")
	f.BoolVar(&w.internal, "internal", false, "no way out but the mesh")
	f.BoolVar(&w.attachable, "attachable", true, "containers that are no tasks may be in it, too")
	f.StringVar(&w.driver, "driver", defaultDriver, "the plugin's name in Docker, with its tag")
	f.StringVar(&docker, "docker", "/run/docker.sock", "Docker's socket")
	return c
}

// quoted is a command line as a shell takes it.
func quoted(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		if out[i] = w; w == "" || strings.Trim(w, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@") != "" {
			out[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(out, " ")
}

// defaultDriver is the managed plugin's name. A Swarm does not find it by its plain one.
const defaultDriver = "meshsec/plugin:latest"
