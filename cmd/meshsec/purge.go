package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/plugin"
)

func purgeCommand(a *ask) *cobra.Command {
	p := paths{}
	state := false
	c := &cobra.Command{Use: "purge", Short: "remove every trace of meshsec from this host's kernel and /run, and nothing else", Args: cobra.NoArgs,
		Long: "Removes the router namespace with all links, routes and tunnels in it, the guard table, the control socket and the\n" +
			"plain-name link. Containers that still run lose their mesh interface. The agent must not run:\n" +
			"docker plugin disable -f meshsec/plugin, or systemctl stop meshsec. The managed plugin's state goes with\n" +
			"docker plugin rm; --state removes that of an agent beside Docker, with this host's identity.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			var s control.Status
			if err := control.NewClient(a.socket).Get(ctx, "status", &s); err == nil {
				return errors.New("the agent runs: docker plugin disable -f meshsec/plugin, or systemctl stop meshsec, first")
			}
			if err := purge(p, state); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "nothing of meshsec is left on this host")
			return nil
		}}
	c.Flags().StringVar(&p.run, "run", "/run", "the host's /run")
	c.Flags().StringVar(&p.state, "state-dir", "/var/lib/meshsec", "state folder of an agent beside Docker")
	c.Flags().BoolVar(&state, "state", false, "remove the state folder, too")
	return c
}

// purge removes what is there, goes on after a failure, and returns all failures.
func purge(p paths, state bool) error {
	router, _ := p.router()
	errs := []error{link.Purge(router), os.RemoveAll(filepath.Dir(p.control())), purgeLink(p)}
	if state {
		errs = append(errs, os.RemoveAll(p.state))
	}
	return errors.Join(errs...)
}

// purgeLink removes the plain name from Docker's plugin folder: the managed plugin's link, or a stale socket.
func purgeLink(p paths) error {
	err := os.Remove(filepath.Join(p.run, "docker", "plugins", plugin.SocketName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
