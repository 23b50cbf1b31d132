package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshsec/meshsec/control"
)

// ask is what the commands that talk to the agent share.
type ask struct {
	socket string
	json   bool
}

// command makes a command that reads one view and prints it, as JSON or by show.
func command[T any](a *ask, name, short string, show func(w io.Writer, v T)) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var v T
		if err := a.get(cmd.Context(), name, &v); err != nil {
			return err
		}
		return a.print(cmd.OutOrStdout(), v, func(w io.Writer) { show(w, v) })
	}}
	c.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return c
}

func (a *ask) get(ctx context.Context, name string, v any) error {
	if ctx == nil {
		ctx = context.Background()
	}
	return control.NewClient(a.socket).Get(ctx, name, v)
}

func (a *ask) print(w io.Writer, v any, text func(io.Writer)) error {
	if a.json {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	text(tw)
	return tw.Flush()
}

func row(w io.Writer, cells ...any) {
	s := make([]string, len(cells))
	for i, c := range cells {
		s[i] = fmt.Sprint(c)
		if s[i] == "" {
			s[i] = "-"
		}
	}
	fmt.Fprintln(w, strings.Join(s, "\t"))
}

func age(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := time.Since(t)
	switch {
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	}
	return fmt.Sprintf("%dd ago", int(d.Hours()/24))
}

func size(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for ; f >= 1024 && i < len(units)-1; i++ {
		f /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}

func versionCommand(a *ask) *cobra.Command {
	c := &cobra.Command{Use: "version", Short: "the versions of this command and of the agent", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := control.Version{Client: version, Go: runtime.Version(), Arch: runtime.GOOS + "/" + runtime.GOARCH}
			if err := a.get(cmd.Context(), "version", &v.Agent); err != nil {
				v.Agent = "none: " + err.Error()
			}
			return a.print(cmd.OutOrStdout(), v, func(w io.Writer) {
				row(w, "command", v.Client)
				row(w, "agent", v.Agent)
				row(w, "built with", v.Go+" "+v.Arch)
			})
		}}
	c.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return c
}

func tokenCommand(a *ask) *cobra.Command {
	var want control.Token
	var key string
	c := keyed(&key, &cobra.Command{Use: "token", Short: "make an identity for a further host and print it as one token, for its setting JOIN",
		Long: "Prints a token that lets one further host join this environment. It holds that host's certificate and key:\n" +
			"treat it as a password, and use it on one host only.",
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return useKey(key, func(ctx context.Context, ca string) error {
				want.CA = ca
				token, err := control.NewClient(a.socket).Token(ctx, want)
				if err != nil {
					return err
				}
				return a.print(cmd.OutOrStdout(), map[string]string{"token": token}, func(w io.Writer) { fmt.Fprintln(w, token) })
			})
		}})
	c.Flags().StringVar(&want.Host, "for", "", "a host of the environment that needs a new certificate and key, by name or ID; it keeps its addresses")
	c.Flags().StringVar(&want.Name, "name", "", "the host's name in the environment (default: its own host name)")
	c.Flags().DurationVar(&want.TTL, "ttl", 0, "life of the certificate (default one year)")
	c.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return c
}
