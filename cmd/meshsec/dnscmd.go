package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshsec/meshsec/control"
)

// forwarded is the status of names that are not this environment's.
const forwarded = "forwarded"

// DNS implements control.Source.
func (a *agent) DNS(name, kind, from string) (control.DNS, error) {
	n := a.node.Load()
	if n == nil {
		return control.DNS{}, errors.New(*a.problem.Load())
	}
	return n.explain(name, kind, from)
}

// explain is what a container of this host is answered; from empty: the one that has the smallest address.
func (n *node) explain(name, kind, from string) (control.DNS, error) {
	none := control.DNS{}
	if n.services.dns == nil {
		return none, errors.New("DNS is turned off on this host: setting SERVICES")
	}
	names, _ := n.services.board.Now()
	askers := names.Askers(from)
	switch {
	case len(askers) == 0 && from == "":
		return none, errors.New("no container of this host is on a network of meshsec")
	case len(askers) == 0:
		return none, fmt.Errorf("no container of this host on a network of meshsec is called %q, has this ID or this address", from)
	}
	asker := askers[0]
	for _, other := range askers { // a container asks by one of its endpoints, whatever its networks
		if from != "" && (other.SandboxKey != asker.SandboxKey || other.SandboxKey == "") && other.ID != asker.ID {
			return none, fmt.Errorf("%q is more than one container: give the address of one, %s or %s", from, asker.Addr, other.Addr)
		}
	}
	e, err := n.services.dns.Explain(name, kind, asker)
	if err != nil {
		return none, err
	}
	d := control.DNS{Name: name, Type: kind, From: asker.Addr.String(), Status: e.Rcode, Records: e.Records, Why: e.Why}
	if d.Status == "" {
		d.Status = forwarded
	}
	if d.Records == nil {
		d.Records = []string{}
	}
	return d, nil
}

func dnsCommand(a *ask) *cobra.Command {
	var from, kind string
	c := &cobra.Command{Use: "dns NAME", Short: "what a container of this host is answered about a name, and why",
		Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			d, err := control.NewClient(a.socket).DNS(ctx, args[0], kind, from)
			if err != nil {
				return err
			}
			err = a.print(cmd.OutOrStdout(), d, func(w io.Writer) {
				fmt.Fprintln(w, d.Status)
				for _, r := range d.Records {
					fmt.Fprintln(w, r)
				}
				for _, why := range d.Why {
					fmt.Fprintln(w, "; "+why)
				}
			})
			if err == nil && len(d.Records) == 0 && d.Status != forwarded {
				return exit{1, errQuiet}
			}
			return err
		}}
	c.Flags().StringVar(&from, "from", "", "the container that asks: its name, ID or address (default: any of this host)")
	c.Flags().StringVar(&kind, "type", "A", "the type of record: A, AAAA, PTR, SRV, TXT, …")
	c.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return c
}
