package plugin

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	ourID   = "3f9a1c0e3f9a1c0e3f9a1c0e3f9a1c0e3f9a1c0e3f9a1c0e3f9a1c0e3f9a1c0e"
	otherID = "77771c0e3f9a1c0e3f9a1c0e3f9a1c0e3f9a1c0e3f9a1c0e3f9a1c0e3f9a1c0e"
)

func TestPluginID(t *testing.T) {
	const line = "36 35 0:25 /docker/plugins/" + ourID + " /run/docker/plugins rw,nosuid shared:5 - tmpfs tmpfs rw\n"
	for name, c := range map[string]struct{ text, want string }{
		"tmpfs on /run":           {line, ourID},
		"/run on the root":        {strings.Replace(line, "/docker/plugins/", "/run/docker/plugins/", 1), ourID},
		"among others":            {"22 1 0:21 / /proc rw - proc proc rw\n" + line + "23 1 0:5 / /dev rw - devtmpfs udev rw\n", ourID},
		"none":                    {"22 1 0:21 / /proc rw - proc proc rw\n", ""},
		"empty":                   {"", ""},
		"the host's own folder":   {strings.Replace(line, "/"+ourID, "", 1), ""},
		"mounted elsewhere":       {strings.Replace(line, " /run/docker/plugins ", " /host/run/docker/plugins ", 1), ""},
		"short id":                {strings.Replace(line, ourID, ourID[:12], 1), ""},
		"covered by the folder":   {line + strings.Replace(line, "/"+ourID, "", 1), ""},
		"covers another":          {strings.Replace(line, ourID, otherID, 1) + line, ourID},
		"cut off":                 {line[:40], ""},
		"long line of an overlay": {"1 2 0:3 / / rw - overlay overlay lowerdir=" + strings.Repeat("/x:", 100_000) + "\n" + line, ourID},
	} {
		if got, err := PluginID(strings.NewReader(c.text)); err != nil || got != c.want {
			t.Errorf("%s: %q %v, want %q", name, got, err, c.want)
		}
	}
	if _, err := PluginID(io.MultiReader(strings.NewReader(line), &failing{})); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("reading fails: %v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

// host is a folder that stands for a host's /run, with the live socket of plugin ourID.
func host(t *testing.T) string {
	t.Helper()
	run := filepath.Dir(filepath.Dir(socket(t)))
	// the socket is moved to its place: bound there, its path could be too long for a sockaddr (unix(7): 107 bytes)
	short := filepath.Join(run, "short.sock")
	serve(t, New(short, quiet(io.Discard), Options{}))
	folder := filepath.Join(run, "docker/plugins", ourID)
	if err := errors.Join(os.MkdirAll(folder, 0o755), os.Rename(short, filepath.Join(folder, SocketName))); err != nil {
		t.Fatal(err)
	}
	return run
}

// reached tells whether the plain name leads to a socket, as dockerd asks: by stat, links followed.
func reached(run string) bool {
	file, err := os.Stat(filepath.Join(run, "docker/plugins/meshsec.sock"))
	return err == nil && file.Mode()&fs.ModeSocket != 0
}

func TestLink(t *testing.T) {
	run := host(t)
	link := NewLink(run, ourID)
	for range 2 { // and again, which changes nothing
		if err := link.Make(); err != nil || !reached(run) {
			t.Fatalf("%v", err)
		}
	}
	if target, err := os.Readlink(filepath.Join(run, "docker/plugins/meshsec.sock")); err != nil || target != ourID+"/meshsec.sock" {
		t.Errorf("%q %v", target, err)
	}
	for range 2 {
		if err := link.Remove(); err != nil || reached(run) {
			t.Errorf("%v", err)
		}
	}
	if left, err := os.ReadDir(filepath.Join(run, "docker/plugins")); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestLinkOverStale(t *testing.T) {
	for name, prepare := range map[string]func(path string) error{
		"removed plugin": func(path string) error { return os.Symlink(otherID+"/meshsec.sock", path) },
		"stale socket":   func(path string) error { stale(t, path); return nil },
		"torn attempt": func(path string) error {
			return errors.Join(os.Symlink("nowhere", path+".new"), os.Symlink("nowhere", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			run := host(t)
			if err := prepare(filepath.Join(run, "docker/plugins/meshsec.sock")); err != nil {
				t.Fatal(err)
			}
			if err := NewLink(run, ourID).Make(); err != nil || !reached(run) {
				t.Errorf("%v", err)
			}
		})
	}
}

// Another plugin's live socket, and what is no socket at all, stay; also at the end.
func TestLinkLeavesOthersAlone(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, path string)
		want    string
	}{
		"live link": {func(t *testing.T, path string) {
			serve(t, New(filepath.Join(filepath.Dir(path), "b", SocketName), quiet(io.Discard), Options{}))
			if err := os.Symlink("b/meshsec.sock", path); err != nil {
				t.Fatal(err)
			}
		}, "another live plugin"},
		"live socket": {func(t *testing.T, path string) { serve(t, New(path, quiet(io.Discard), Options{})) }, "another live plugin"},
		"folder": {func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}, "is no socket"},
	} {
		t.Run(name, func(t *testing.T) {
			run := host(t)
			path := filepath.Join(run, "docker/plugins/meshsec.sock")
			c.prepare(t, path)
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			link := NewLink(run, ourID)
			if err := link.Make(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if err := link.Remove(); err != nil {
				t.Error(err)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("it was not left alone: %v", err)
			}
		})
	}
}
