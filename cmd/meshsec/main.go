// Command meshsec is both the agent (the Docker plugin's process, or a daemon of its own) and the command line that asks it.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "unknown"

// exit carries an exit code through cobra: 1 degraded, 2 broken or misused.
type exit struct {
	code int
	err  error
}

func (e exit) Error() string { return e.err.Error() }
func (e exit) Unwrap() error { return e.err }

// errQuiet ends the process with its exit code and no further word.
var errQuiet = errors.New("")

func main() {
	err := root().Execute()
	if err == nil {
		return
	}
	code := 2
	var e exit
	if errors.As(err, &e) {
		code = e.code
	}
	if !errors.Is(err, errQuiet) {
		fmt.Fprintln(os.Stderr, "meshsec:", err)
	}
	os.Exit(code)
}

func root() *cobra.Command {
	r := &cobra.Command{
		Use:           "meshsec",
		Short:         "One flat container network over many Docker hosts, every packet between them in IPsec ESP",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	r.CompletionOptions.DisableDefaultCmd = true
	asked := &ask{}
	r.PersistentFlags().StringVar(&asked.socket, "socket", "/run/meshsec/meshsec.sock", "the agent's control socket")
	r.AddCommand(agentCommand(), statusCommand(asked), hostsCommand(asked), hostCommand(asked), caCommand(asked), rolesCommand(asked), peersCommand(asked), networksCommand(asked),
		endpointsCommand(asked), blocksCommand(asked), dnsCommand(asked), swarmCommand(asked), tokenCommand(asked), rekeyCommand(asked), recoverCommand(asked), purgeCommand(asked), versionCommand(asked))
	return r
}
