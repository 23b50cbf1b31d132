package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/settings"
	"github.com/meshsec/meshsec/store"
)

// rig is a host's state folder and settings.
type rig struct {
	t   *testing.T
	p   paths
	set settings.Settings
}

func newRig(t *testing.T, values map[string]string) *rig {
	t.Helper()
	v, err := settings.Gather(values, nil, "", false)
	if err != nil {
		t.Fatal(err)
	}
	set, err := v.Parse()
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t, paths{run: "/run", state: t.TempDir()}, set}
}

func (r *rig) open() (*store.Checkpoint, error) { return openCheckpoint(r.set, r.p) }

// identity opens the checkpoint, changes it, and closes it again.
func (r *rig) identity(change func(*store.Local)) store.Identity {
	r.t.Helper()
	cp, err := r.open()
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() {
		if err := cp.Close(); err != nil {
			r.t.Error(err)
		}
	}()
	if err := cp.Update(func(l *store.Local) error { change(l); return nil }); err != nil {
		r.t.Fatal(err)
	}
	return cp.Local().Identity
}

func (r *rig) refused(words ...string) {
	r.t.Helper()
	cp, err := r.open()
	if err == nil {
		_ = cp.Close()
		r.t.Errorf("accepted, want an error with %q", words)
		return
	}
	if !errors.Is(err, errSetting) {
		r.t.Errorf("would be tried again for ever: %v", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			r.t.Errorf("error %q does not say %q", err, w)
		}
	}
}

func nothing(*store.Local) {}

// token is one of a new environment.
func token(t *testing.T, environment, name string, ttl time.Duration) string {
	t.Helper()
	ca, err := store.NewCA(environment)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := ca.NewToken([]string{"https://192.0.2.1:2379"}, name, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return tok.Encode()
}

func TestAFounderStaysWhoItIs(t *testing.T) {
	r := newRig(t, map[string]string{"HOST_NAME": "h1"})
	first := r.identity(nothing)
	if first.HostID == "" || first.CAKey.Empty() || first.Private.Empty() || first.HostName != "h1" {
		t.Errorf("%+v", first)
	}
	if again := r.identity(nothing); again.HostID != first.HostID || string(again.Private.Bytes) != string(first.Private.Bytes) {
		t.Error("another identity after a restart")
	}
	r.set.HostID = "0123456789abcdef"
	r.refused("HOST_ID=0123456789abcdef", first.HostID)
}

func TestJoinByTokenAndByFile(t *testing.T) {
	tok := token(t, "default", "edge", 0)
	r := newRig(t, map[string]string{"JOIN": tok})
	id := r.identity(nothing)
	if id.HostName != "edge" || len(id.Endpoints) != 1 || !id.CAKey.Empty() {
		t.Errorf("%+v", id)
	}
	if again := r.identity(nothing); string(again.Private.Bytes) != string(id.Private.Bytes) {
		t.Error("the same token makes the host forget its handshake key")
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(tok+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if byFile := newRig(t, map[string]string{"JOIN": file}).identity(nothing); byFile.HostID != id.HostID {
		t.Error("a file with the token means the same host")
	}
	r.set.Join = ""
	if left := r.identity(nothing); left.HostID != id.HostID {
		t.Error("without JOIN a member stays a member")
	}
}

func TestAFounderMovesOverOnlyWithEmptyHands(t *testing.T) {
	r := newRig(t, nil)
	founder := r.identity(func(l *store.Local) {
		l.Endpoints["e"] = store.LocalEndpoint{Endpoint: store.Endpoint{ID: "e"}}
		l.Networks["n"] = store.LocalNetwork{DockerID: "n"}
	})
	r.set.Join = token(t, "default", "", 0)
	r.refused("JOIN", "1 endpoints")
	r.set.Join = ""
	r.identity(func(l *store.Local) { clear(l.Endpoints) })
	join := token(t, "default", "", 0)
	r.set.Join = join
	r.refused("JOIN", "1 networks", "docker network rm")
	r.set.Join = ""
	r.identity(func(l *store.Local) { clear(l.Networks) })
	r.set.Join = join
	moved := r.identity(nothing)
	if moved.HostID == founder.HostID || !moved.CAKey.Empty() || len(moved.Endpoints) != 1 {
		t.Errorf("%+v", moved)
	}
	if _, err := os.Stat(filepath.Join(r.p.state, "default.db.left")); err != nil {
		t.Error("the old checkpoint, with its authority, is put aside, not destroyed:", err)
	}
}

func TestBadTokensAreExplained(t *testing.T) {
	for _, c := range []struct {
		name  string
		join  string
		words []string
	}{
		{"malformed", "meshsec1.nonsense", []string{"JOIN", "malformed"}},
		{"no file", "/nowhere/token", []string{"JOIN", "/nowhere/token"}},
		{"another environment", token(t, "prod", "", 0), []string{"JOIN", `"prod"`, `"default"`}},
		{"expired", token(t, "default", "", time.Nanosecond), []string{"JOIN", "expired"}},
	} {
		t.Run(c.name, func(t *testing.T) { newRig(t, map[string]string{"JOIN": c.join}).refused(c.words...) })
	}
}

func TestASecondAgentIsRefused(t *testing.T) {
	r := newRig(t, nil)
	cp, err := r.open()
	if err != nil {
		t.Fatal(err)
	}
	defer cp.Close()
	if _, err := r.open(); err == nil || !strings.Contains(err.Error(), "default.db") {
		t.Error(err)
	}
}

// JOIN stays set for years; a reboot must not stop a member because the token has ended or its file was tidied away.
func TestAMemberOutlivesItsToken(t *testing.T) {
	ca, err := store.NewCA("default")
	if err != nil {
		t.Fatal(err)
	}
	short, err := ca.NewToken([]string{"https://192.0.2.1:2379"}, "edge", 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(short.Encode()), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, map[string]string{"JOIN": file})
	id := r.identity(nothing)
	teststore.Wait(t, "the token to expire", func() bool {
		_, err := store.ParseToken(short.Encode())
		return errors.Is(err, store.ErrExpired)
	})
	if again := r.identity(nothing); again.HostID != id.HostID {
		t.Error("another host after its token expired")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if again := r.identity(nothing); again.HostID != id.HostID {
		t.Error("another host after its token's file went")
	}
	newRig(t, map[string]string{"JOIN": file}).refused("JOIN", file) // for a new host it is an error
	newRig(t, map[string]string{"JOIN": short.Encode()}).refused("JOIN", "expired")
}
