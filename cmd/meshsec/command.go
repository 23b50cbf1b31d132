package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// commandScript runs the plugin's binary from a shell of the host.
//
//go:embed command.sh
var commandScript []byte

// installCommand is the line that puts meshsec into the host's PATH. It copies, since /run is often mounted noexec.
const installCommand = "install -m 755 /run/meshsec/command /usr/local/bin/meshsec"

// offerCommand writes the script to the host's /run, where installCommand takes it from. An agent beside Docker has no
// need of it: its binary is on the host.
func (a *agent) offerCommand() {
	if !a.paths.managed {
		return
	}
	if err := writeCommand(a.paths); err != nil {
		a.log.WithError(err).Warn("the command meshsec is not offered to this host")
		return
	}
	a.log.Info("to have the command meshsec in this host's path: " + installCommand)
}

// writeCommand writes the script in one step: a shell may be reading an earlier one.
func writeCommand(p paths) error {
	path := filepath.Join(filepath.Dir(p.control()), "command")
	if err := os.WriteFile(path+".new", commandScript, 0o644); err != nil {
		return fmt.Errorf("write the command: %w", err)
	}
	return os.Rename(path+".new", path)
}

// commandName is the name of this program in the host's PATH.
const commandName = "meshsec"

// commandHint says where the shell finds meshsec, or how to make it find it; empty: there is no plugin on this host.
func commandHint(p paths) string {
	if _, err := os.Stat(filepath.Join(filepath.Dir(p.control()), "command")); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if path, err := exec.LookPath(commandName); err == nil {
		return path
	}
	return "not in the PATH: " + installCommand
}
