package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/store"
)

// rolesCommand prints what holds hosts to their own keys in an etcd of the operator's own.
func rolesCommand(a *ask) *cobra.Command {
	var removed bool
	c := &cobra.Command{Use: "etcd-roles [TOKEN|FILE|ID]...", Short: "print the etcdctl commands that hold hosts to their own keys in an etcd of your own",
		Long: "Prints commands for etcdctl, by which an etcd of your own lets each host write only its own keys, as the embedded one\n" +
			"does: the roles and all hosts of the environment, or only the hosts named by ID or by the token that they will join\n" +
			"with. With --removed: the commands that shut hosts out that were removed. See docs/authority.md.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var s control.Status
			var hosts []control.Host
			if err := errors.Join(a.get(cmd.Context(), "status", &s), a.get(cmd.Context(), "hosts", &hosts)); err != nil {
				return err
			}
			lines, err := roles(s.Environment, hosts, args, removed)
			for _, line := range lines {
				fmt.Fprintln(cmd.OutOrStdout(), "etcdctl", line)
			}
			if removed && err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), "# A watch that it has open goes on until its connection ends: restart etcd's members, one after the other.")
			}
			return err
		}}
	c.Flags().BoolVar(&removed, "removed", false, "for hosts that were removed: take their access away")
	return c
}

func roles(environment string, hosts []control.Host, args []string, removed bool) (lines []string, err error) {
	if removed && len(args) == 0 {
		return nil, errors.New("--removed needs the IDs of the hosts")
	}
	named := map[string]bool{}
	for _, arg := range args {
		id := arg
		if store.CheckHostID(arg) != nil {
			token, err := store.ParseToken(arg)
			if err != nil {
				return nil, fmt.Errorf("neither a host ID nor a good token: %w", err)
			}
			if err := token.CheckEnvironment(environment); err != nil {
				return nil, err
			}
			id = token.HostID
		}
		if removed {
			lines = append(lines, store.EtcdUserEnd(environment, id)...)
		}
		named[id] = true
	}
	if removed {
		return lines, nil
	}
	if len(named) == 0 {
		lines = store.EtcdRoles(environment)
	}
	for _, h := range hosts {
		if len(args) == 0 || named[h.ID] {
			lines = append(lines, store.EtcdUser(environment, h.ID, h.Authority)...)
			delete(named, h.ID)
		}
	}
	for id := range named { // that have not joined yet
		lines = append(lines, store.EtcdUser(environment, id, false)...)
	}
	return lines, nil
}
