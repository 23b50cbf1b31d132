package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCommand runs the script of the host's PATH against a docker that knows the plugin, that does not answer, and that
// knows it no more.
func TestCommand(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: the script is for root only")
	}
	dir := t.TempDir()
	p := paths{run: dir}
	if hint := commandHint(p); hint != "" {
		t.Errorf("without a plugin: %s", hint)
	}
	script := filepath.Join(dir, "meshsec", "command")
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "root/plugins/abc/rootfs/meshsec"), `echo "ran $*"; exit 1`)
	write(filepath.Join(dir, "bin/docker"), `case $* in
		"plugin inspect -f {{.Id}} meshsec/plugin") echo abc ;;
		"info -f {{.DockerRootDir}}") echo `+dir+`/root ;;
		*) exit 1 ;;
		esac`)
	t.Setenv("PATH", filepath.Join(dir, "bin")+":/usr/bin:/bin")
	write(script, "")
	if err := writeCommand(p); err != nil {
		t.Fatal(err)
	}
	here := strings.ReplaceAll(string(commandScript), "/run/meshsec", filepath.Dir(script))
	if err := os.WriteFile(script, []byte(here), 0o644); err != nil {
		t.Fatal(err)
	}
	if hint := commandHint(p); hint != "not in the PATH: "+installCommand {
		t.Errorf("with a plugin: %s", hint)
	}
	out, err := exec.Command("sh", script, "status", "--json").CombinedOutput()
	if string(out) != "ran status --json\n" || err == nil || err.Error() != "exit status 1" {
		t.Errorf("%v: %s", err, out)
	}
	write(filepath.Join(dir, "bin/docker"), "exit 1")
	out, err = exec.Command("sh", script, "status").CombinedOutput()
	if string(out) != "ran status\n" || err == nil || err.Error() != "exit status 1" {
		t.Errorf("while Docker does not answer: %v: %s", err, out)
	}
	if err := os.RemoveAll(filepath.Join(dir, "root")); err != nil {
		t.Fatal(err)
	}
	out, err = exec.Command("sh", script, "status").CombinedOutput()
	if err == nil || err.Error() != "exit status 2" || !strings.Contains(string(out), "is it installed?") {
		t.Errorf("without the plugin: %v: %s", err, out)
	}
	write(filepath.Join(dir, "bin/meshsec"), "")
	if hint := commandHint(p); hint != filepath.Join(dir, "bin/meshsec") {
		t.Errorf("in the PATH: %s", hint)
	}
}
