package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/store"
)

// removeHost shuts out the host of that name or ID.
func (n *node) removeHost(ctx context.Context, ref, bundle string) (string, error) {
	ca, err := n.authority(bundle)
	if err != nil {
		return "", err
	}
	id, err := n.hostID(ref)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, etcdWait)
	defer cancel()
	return id, n.store.Revoke(ctx, ca, id)
}

// hostID finds a host by name or ID. An ID may be that of one that has published nothing, or whose fact is gone.
func (n *node) hostID(ref string) (string, error) {
	if h, ok := n.store.Snapshot().HostByNameOrID(ref); ok {
		return h.ID, nil
	}
	if store.CheckHostID(ref) != nil {
		return "", fmt.Errorf("no host, or more than one, is called %q: give its ID as in `meshsec hosts`", ref)
	}
	return ref, nil
}

// removalGrace is how long a removed host's addresses are kept, for it may not know yet; HOST_GRACE may be shorter.
const removalGrace = 10 * time.Minute

func hostCommand(a *ask) *cobra.Command {
	c := &cobra.Command{Use: "host", Short: "change the hosts of the environment", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return errors.Join(cmd.Help(), exit{2, errQuiet}) }}
	var key string
	rm := keyed(&key, &cobra.Command{Use: "rm NAME", Short: "shut a host out of the environment, for good",
		Long: "Shuts out the host with this name or ID: all hosts drop its tunnels, routes and endpoints as soon as they see it, its\n" +
			"own containers are cut off, and its token is worth nothing any more. Its addresses are free ten minutes later. It\n" +
			"can come back only as another host, with a new token. To be run on a host that holds the certificate authority.",
		Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			return useKey(key, func(ctx context.Context, ca string) error {
				id, err := control.NewClient(a.socket).RemoveHost(ctx, args[0], ca)
				if err != nil {
					return err
				}
				return a.print(cmd.OutOrStdout(), map[string]string{"removed": id}, func(w io.Writer) { fmt.Fprintln(w, id) })
			})
		}})
	rm.Flags().BoolVar(&a.json, "json", false, "print JSON")
	c.AddCommand(rm)
	return c
}
