package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/meshsec/meshsec/settings"
)

func agentCommand() *cobra.Command {
	p := paths{}
	var inPlugin bool
	var file string
	c := &cobra.Command{Use: "agent", Short: "run this host's agent: the Docker plugin", Args: cobra.NoArgs,
		Long: "Runs the agent. Settings come from flags, from the environment (MESHSEC_NAME; plain NAME inside the managed\n" +
			"plugin) and from a file, in this order of precedence. It never exits because of a setting: it stays up and\n" +
			"answers every call with the error, since dockerd would start an exiting plugin again in a busy loop.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if inPlugin {
				p = p.inPlugin()
			}
			flags := map[string]string{}
			cmd.Flags().Visit(func(f *pflag.Flag) {
				for _, s := range settings.All {
					if s.Flag() == f.Name {
						flags[s.Name] = f.Value.String()
					}
				}
			})
			values, gatherErr := settings.Gather(flags, os.Environ(), p.host(file), inPlugin)
			set, err := values.Parse()
			if gatherErr != nil {
				err = gatherErr
			}
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return runAgent(ctx, set, err, p, logger(set))
		}}
	c.Flags().BoolVar(&inPlugin, "in-plugin", false, "use the paths and setting names of Docker's managed plugin")
	c.Flags().StringVar(&file, "settings", "/etc/meshsec/meshsec.conf", "file of settings, one NAME=value a line")
	c.Flags().StringVar(&p.run, "run", "/run", "the host's /run")
	c.Flags().StringVar(&p.state, "state", "/var/lib/meshsec", "folder for the checkpoint and the embedded etcd")
	c.Flags().StringVar(&p.plugin, "plugin-socket", "/run/docker/plugins/meshsec.sock", "the socket that dockerd calls")
	for _, s := range settings.All {
		c.Flags().String(s.Flag(), s.Default, s.Help)
	}
	return c
}

// logger writes to stdout: dockerd takes a plugin's stdout for information and its stderr for errors, whatever the level.
func logger(s settings.Settings) *logrus.Entry {
	l := logrus.New()
	l.SetOutput(os.Stdout)
	l.SetLevel(s.LogLevel)
	if s.LogFormat == "json" {
		l.SetFormatter(&logrus.JSONFormatter{})
	} else {
		l.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true})
	}
	return logrus.NewEntry(l)
}
