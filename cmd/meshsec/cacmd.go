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
)

func caCommand(a *ask) *cobra.Command {
	c := &cobra.Command{Use: "ca", Short: "keep the environment's certificate authority safe", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return errors.Join(cmd.Help(), exit{2, errQuiet}) }}
	var key string
	var remove, force bool
	export := &cobra.Command{Use: "export FILE", Short: "write the authority and its private key to a new file",
		Long: "Writes the certificate authority and its private key to a new file, readable by its owner only. Who has the file\n" +
			"can let hosts in and shut them out: keep it off-line. With --remove the key is taken away from this host; then\n" +
			"token, host rm, and ca renew, replace and retire need --ca-key FILE.",
		Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error { return exportCA(a, args[0], remove) }}
	export.Flags().BoolVar(&remove, "remove", false, "take the key away from this host")
	imp := &cobra.Command{Use: "import FILE", Short: "give the authority to this host as well",
		Long: "Reads the authority from a file of `meshsec ca export`. This host can then issue tokens and remove hosts, too.",
		Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			bundle, err := readKey(args[0])
			if err != nil {
				return err
			}
			return withCA(func(ctx context.Context) error { return control.NewClient(a.socket).AddAuthority(ctx, bundle) })
		}}
	replace := keyed(&key, &cobra.Command{Use: "replace", Short: "make a new authority; the old one is believed until `ca retire`",
		Long: "Makes a new certificate authority, whose key is on this host: export it. Every host gets a certificate of it within\n" +
			"seconds, or when it comes back. Until `meshsec ca retire` the old one is believed, too.",
		RunE: func(*cobra.Command, []string) error {
			return useKey(key, func(ctx context.Context, ca string) error {
				return control.NewClient(a.socket).ReplaceAuthority(ctx, ca)
			})
		}})
	retire := keyed(&key, &cobra.Command{Use: "retire", Short: "end the belief in the authorities before the present one",
		Long: "Ends the belief in the authorities that were replaced: certificates and tokens of them are worth nothing any more. Refused\n" +
			"with their names while hosts have no certificate of the present one; --force cuts them off. A host that was cut off\n" +
			"comes back with `meshsec token --for NAME`.",
		RunE: func(*cobra.Command, []string) error {
			return useKey(key, func(ctx context.Context, ca string) error {
				return control.NewClient(a.socket).RetireAuthority(ctx, ca, force)
			})
		}})
	retire.Flags().BoolVar(&force, "force", false, "cut off hosts that have no certificate of the present authority")
	renew := keyed(&key, &cobra.Command{Use: "renew", Short: "give every host a new certificate now",
		Long: "Gives every host a new certificate for the key that it has, good for a year. A host that holds the authority's key does\n" +
			"that by itself in time; this is for an authority that is kept off-line.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return useKey(key, func(ctx context.Context, ca string) error {
				count, err := control.NewClient(a.socket).RenewCertificates(ctx, ca)
				if err == nil {
					fmt.Fprintf(cmd.OutOrStdout(), "%s certificates renewed\n", count)
				}
				return err
			})
		}})
	c.AddCommand(export, imp, replace, retire, renew)
	return c
}

const caWait = 10 * time.Second

// keyed gives a command that needs the authority's key the flag by which it may come from a file.
func keyed(key *string, c *cobra.Command) *cobra.Command {
	if c.Args == nil {
		c.Args = cobra.NoArgs
	}
	c.Flags().StringVar(key, "ca-key", "", "file of `meshsec ca export`, for this once, where this host does not hold the authority's key")
	return c
}

// useKey runs a command with the authority from the file, or with an empty one.
func useKey(file string, fn func(ctx context.Context, ca string) error) error {
	bundle := ""
	if file != "" {
		var err error
		if bundle, err = readKey(file); err != nil {
			return err
		}
	}
	return withCA(func(ctx context.Context) error { return fn(ctx, bundle) })
}

func withCA(fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), caWait)
	defer cancel()
	return fn(ctx)
}

func readKey(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	bundle, err := io.ReadAll(io.LimitReader(f, 1<<16))
	if err == nil && len(bundle) == 0 {
		err = fmt.Errorf("%s is empty", path)
	}
	return string(bundle), err
}

func exportCA(a *ask, path string, remove bool) (err error) {
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
	return client.AuthorityExported(ctx, remove)
}
