package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshsec/meshsec/control"
)

// recoverEtcd makes an etcd of one member out of this host's.
func (n *node) recoverEtcd(ctx context.Context, lost []string) error {
	if n.members == nil {
		return errors.New("this environment's etcd is the operator's own: recover it as etcd's documentation says")
	}
	return n.members.Recover(ctx, lost)
}

func recoverCommand(a *ask) *cobra.Command {
	var lost []string
	c := &cobra.Command{Use: "etcd-recover --lost HOST,…", Short: "go on with this host's etcd alone, when most of the members are lost for good",
		Long: "When more than half of the embedded etcd's members are lost for good, with their disks, the others can decide nothing any more:\n" +
			"no new networks, no --ip, no new hosts. This makes an etcd of one member out of what this host's member holds. It grows by\n" +
			"itself, and the other members that are left come in anew. Name all that are lost: were they to come back together, they\n" +
			"would be a second etcd of the environment. It is refused while etcd answers. Type it on one host only; afterwards remove\n" +
			"the lost hosts with meshsec host rm.",
		Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			if len(lost) == 0 {
				return exit{2, errors.New("--lost: name the hosts whose members are lost for good; meshsec status lists the members")}
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			return control.NewClient(a.socket).RecoverEtcd(ctx, lost)
		}}
	c.Flags().StringSliceVar(&lost, "lost", nil, "hosts whose members are lost for good, by name or ID, all of them")
	return c
}
