package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHostPathsAreMappedInThePluginOnly(t *testing.T) {
	in := paths{}.inPlugin()
	for path, want := range map[string]string{
		"/run/secrets/token":  "/host/run/secrets/token",
		"/etc/meshsec/ca.pem": "/host/etc/meshsec/ca.pem",
		"/root/token":         "/root/token",
		"/runner/x":           "/runner/x",
		"meshsec1.abc":        "meshsec1.abc",
		"":                    "",
	} {
		if got := in.host(path); got != want {
			t.Errorf("in the plugin, %q is at %q, want %q", path, got, want)
		}
	}
	for path, want := range map[string]string{
		"/host/run/meshsec/router": "/run/meshsec/router",
		"/host/running":            "/host/running",
		"/data/router":             "/data/router",
	} {
		if got := in.onHost(path); got != want {
			t.Errorf("%q of the plugin is %q on the host, want %q", path, got, want)
		}
	}
	for _, run := range []string{"/run", "/tmp/run"} {
		out := paths{run: run} // --run=/tmp/run: the router is there, and nowhere else
		for _, path := range []string{"/run/x", "/etc/x", "/x", run + "/meshsec/router"} {
			if here, there := out.host(path), out.onHost(path); here != path || there != path {
				t.Errorf("outside, with --run=%s, %q is at %q and is shown as %q", run, path, here, there)
			}
		}
	}
}

func TestRouterNamespaceIsBoundWhereItSurvives(t *testing.T) {
	table := filepath.Join(t.TempDir(), "mountinfo")
	write := func(lines ...string) {
		if err := os.WriteFile(table, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root := "1 0 254:0 / / rw - overlay overlay rw"
	write(root, "36 1 0:25 / /host/run rw,nosuid shared:5 - tmpfs tmpfs rw")
	if !isShared(table, "/host/run") {
		t.Error("shared:5 is a shared mount")
	}
	write(root, "36 1 0:25 / /host/run rw,nosuid master:5 - tmpfs tmpfs rw")
	if isShared(table, "/host/run") {
		t.Error("a slave does not propagate to the host")
	}
	write(root, "36 1 0:25 / /host/run rw shared:5 - tmpfs tmpfs rw", "37 1 0:26 / /host/run rw - tmpfs tmpfs rw")
	if isShared(table, "/host/run") {
		t.Error("the later mount covers the earlier one")
	}
	if isShared(filepath.Join(t.TempDir(), "none"), "/host/run") {
		t.Error("no table, no claim")
	}
	if path, survives := (paths{run: "/run"}).router(); path != "/run/meshsec/router" || !strings.Contains(survives, "upgrade") {
		t.Error("outside a plugin nobody unmounts it:", path, survives)
	}
	if path, survives := (paths{run: "/nowhere", state: "/data", managed: true}).router(); path != "/data/router" || !strings.Contains(survives, "make-shared") {
		t.Error(path, survives)
	}
}
