package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/store"
)

func (n *node) exportAuthority() (string, error) {
	ca, err := n.checkpoint.Local().Identity.Authority()
	if err != nil {
		return "", err
	}
	return string(ca.Bundle().Bytes), nil
}

func (n *node) authorityExported() error {
	return n.checkpoint.Update(func(l *store.Local) error {
		l.Identity.Exported = time.Now().UTC()
		return nil
	})
}

func (n *node) addAuthority(bundle string) error {
	ca, err := store.ParseBundle(n.id.Environment, store.Secret{Bytes: []byte(bundle)})
	if err != nil {
		return err
	}
	return n.checkpoint.AddAuthority(ca)
}

// warnings are what an operator should do some time.
func (n *node) warnings() []string {
	id := n.checkpoint.Local().Identity
	if id.CAKey.Empty() || id.Imported || !id.Exported.IsZero() {
		return []string{}
	}
	return []string{"the key of the certificate authority is on this host only; were its disk lost, no host could join or be removed: meshsec ca export FILE"}
}

func caCommand(a *ask) *cobra.Command {
	c := &cobra.Command{Use: "ca", Short: "keep the environment's certificate authority safe", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return errors.Join(cmd.Help(), exit{2, errQuiet}) }}
	c.AddCommand(&cobra.Command{Use: "export FILE", Short: "write the authority and its private key to a new file",
		Long: "Writes the certificate authority and its private key to a new file, readable by its owner only. Who has the file\n" +
			"can let hosts in and shut them out: keep it off-line.",
		Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error { return exportCA(a, args[0]) }},
		&cobra.Command{Use: "import FILE", Short: "give the authority to this host as well",
			Long: "Reads the authority from a file of `meshsec ca export`. This host can then issue tokens and remove hosts, too.",
			Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error { return importCA(a, args[0]) }})
	return c
}

const caWait = 10 * time.Second

func exportCA(a *ask, path string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), caWait)
	defer cancel()
	client := control.NewClient(a.socket)
	bundle, err := client.Authority(ctx)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, bundle)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, errors.Join(err, os.Remove(path)))
	}
	return client.AuthorityExported(ctx)
}

func importCA(a *ask, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	bundle, err := io.ReadAll(io.LimitReader(f, 1<<16))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), caWait)
	defer cancel()
	return control.NewClient(a.socket).AddAuthority(ctx, string(bundle))
}
