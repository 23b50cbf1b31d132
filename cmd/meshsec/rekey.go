package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/ipsec"
)

// rekey makes new keys due towards every peer that has some, as if their time had come, and names those peers.
func (n *node) rekey() []string {
	names := []string{}
	for id, set := range n.handshake.SAs() {
		if set.Out == nil {
			continue // a handshake with it goes on anyway
		}
		n.handshake.Event(ipsec.Event{Kind: ipsec.SPISoftLimit, Peer: id, SPI: set.Out.SPI})
		names = append(names, n.store.Snapshot().HostName(id))
	}
	slices.Sort(names)
	return names
}

func rekeyCommand(a *ask) *cobra.Command {
	c := &cobra.Command{Use: "rekey", Short: "make new keys with every peer now, without a gap, and print the peers",
		Long: "Makes new keys due with every peer that this host has a tunnel to, as if their hour had come, and prints those peers.\n" +
			"The old ones are used until the new ones work. Where it is the peer's turn to begin, this host does so five seconds later.",
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			peers, err := control.NewClient(a.socket).Rekey(ctx)
			if err != nil {
				return err
			}
			return a.print(cmd.OutOrStdout(), peers, func(w io.Writer) {
				for _, p := range peers {
					fmt.Fprintln(w, p)
				}
			})
		}}
	c.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return c
}
