// Package engines chooses the Docker engine that test hosts run: Debian's of 2020, or today's, which `make engines` builds
// from the versions in the file pins.
package engines

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Variable of the environment names the engine: one of Names.
const Variable = "MESHSEC_ENGINE"

// Old is Debian's engine, Today the one that `make engines` builds, with iptables; Nftables is Today with its nftables backend.
const (
	Old      = "20.10"
	Today    = "29"
	Nftables = "29-nftables"
)

// Names are the engines there are to choose from.
var Names = []string{Old, Today, Nftables}

// programs are the programs of an engine. containerd is Debian's for all engines.
var programs = []string{"dockerd", "docker-proxy", "runc", "docker", "docker-compose"}

// Set is an engine with the client and the Compose of its time.
type Set struct {
	Name string // one of Names
	dir  string // of its programs; empty: the machine's
}

// Chosen is the engine that the environment names, or else the default.
func Chosen(byDefault string) (string, error) {
	name := os.Getenv(Variable)
	switch {
	case name == "":
		return byDefault, nil
	case !slices.Contains(Names, name):
		return "", fmt.Errorf("%s=%s: no such engine; there are %s", Variable, name, strings.Join(Names, ", "))
	}
	return name, nil
}

// Find returns the engine of that name, one of Names, for the source tree in root. It is an error when it has not been built.
func Find(ctx context.Context, root, name string) (Set, error) {
	s := Set{Name: name}
	if name == Old {
		return s, nil
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "scripts/engines"), "find")
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return Set{}, fmt.Errorf("engine %s: %w: %s", name, err, strings.TrimSpace(complaint.String()))
	}
	s.dir = filepath.Join(strings.TrimSpace(string(out)), "bin")
	return s, nil
}

// Link fills a new directory, to stand first in PATH, with links to the engine's programs. Of Debian's only those are
// linked that are installed.
func (s Set) Link(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for _, name := range programs {
		path := filepath.Join(s.dir, name)
		if s.dir == "" {
			if path = debian(name); path == "" {
				continue
			}
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// debian is where Debian's packages install a program, or else where the machine finds it: a client of another origin may be
// too new for Debian's engine.
func debian(name string) string {
	for _, dir := range []string{"/usr/sbin", "/usr/bin"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	path, _ := exec.LookPath(name)
	return path
}
