package plugin

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stale leaves a socket's file behind that nobody listens on, as a process that was killed does.
func stale(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSocketFile(t *testing.T) {
	d := start(t, new(fake))
	file, err := os.Stat(d.sock)
	if err != nil || file.Mode().Type() != fs.ModeSocket || file.Mode().Perm() != 0o660 {
		t.Fatalf("%v %v", file, err)
	}
	if err := d.end(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(d.sock); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// What is at the socket's path: dead things are replaced, live or alien ones are left alone and named.
func TestListenOver(t *testing.T) {
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		want string
	}{
		"stale socket": {stale, ""},
		"stale link": {func(t *testing.T, path string) {
			stale(t, path+".old")
			if err := os.Symlink(filepath.Base(path)+".old", path); err != nil {
				t.Fatal(err)
			}
		}, ""},
		"link to nowhere": {func(t *testing.T, path string) {
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink("0123/meshsec.sock", path)); err != nil {
				t.Fatal(err)
			}
		}, ""},
		"live agent": {func(t *testing.T, path string) { serve(t, New(path, quiet(io.Discard), Options{})) }, "another meshsec agent listens on"},
		"link to a live agent": {func(t *testing.T, path string) {
			serve(t, New(path+".live", quiet(io.Discard), Options{}))
			if err := os.Symlink(filepath.Base(path)+".live", path); err != nil {
				t.Fatal(err)
			}
		}, "another meshsec agent listens on"},
		"file": {func(t *testing.T, path string) {
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("unix:///x"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}, "is there and is no socket"},
		"folder": {func(t *testing.T, path string) {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}, "is there and is no socket"},
	} {
		t.Run(name, func(t *testing.T) {
			path := socket(t)
			c.make(t, path)
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			s := New(path, quiet(io.Discard), Options{})
			if c.want == "" {
				d := serve(t, s)
				if status, reply, _ := d.ask(t, "Plugin.Activate", ""); status != http.StatusOK {
					t.Errorf("%d %s", status, reply)
				}
				return
			}
			if err := s.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("it was not left alone: %v", err)
			}
		})
	}
}

// The file of the agent that came after is not the first one's to unlink.
func TestUnlinksOnlyItsOwn(t *testing.T) {
	first := start(t, nil)
	if err := os.Remove(first.sock); err != nil {
		t.Fatal(err)
	}
	second := serve(t, New(first.sock, quiet(io.Discard), Options{}))
	if err := first.end(); err != nil {
		t.Fatal(err)
	}
	if status, reply, _ := second.ask(t, "Plugin.Activate", ""); status != http.StatusOK {
		t.Errorf("%d %s", status, reply)
	}
}

func TestListenFolderCannotBeMade(t *testing.T) {
	path := socket(t)
	if err := os.WriteFile(filepath.Dir(path), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := New(path, quiet(io.Discard), Options{}).Serve(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "plugin socket: ") {
		t.Errorf("%v", err)
	}
}

// At the end a call in progress still gets its reply, and a waiting one is told.
func TestServeEnds(t *testing.T) {
	in, release := make(chan struct{}), make(chan struct{})
	f := &fake{hook: func(context.Context, string) error { close(in); <-release; return nil }}
	s := New(socket(t), quiet(io.Discard), Options{})
	s.limit = time.Minute
	s.SetBackend(f, f)
	d := serve(t, s)
	type answer struct {
		status int
		text   string
		err    error
	}
	ask := func(method, body string) chan answer {
		got := make(chan answer, 1)
		go func() {
			status, _, text, err := d.post(t.Context(), method, body)
			got <- answer{status, text, err}
		}()
		return got
	}
	joined := ask(good[4].method, good[4].body)
	<-in
	s.set(backend{}) // from here on calls wait
	left := ask(good[5].method, good[5].body)
	ended := make(chan error, 1)
	go func() { ended <- d.end() }()
	if a := <-left; a.err == nil && a.text != "meshsec is stopping" { // or it came too late to be taken
		t.Errorf("the waiting call: %+v", a)
	}
	close(release)
	if a := <-joined; a.err != nil || a.status != http.StatusOK {
		t.Errorf("the call in progress: %+v", a)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
