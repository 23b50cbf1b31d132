package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/store"
)

// TestCase14ADamagedCheckpointSaysWhatToMoveAway: the first host's etcd holds the lost authority, so it has to go as well.
func TestCase14ADamagedCheckpointSaysWhatToMoveAway(t *testing.T) {
	r := newRig(t, nil)
	path, etcd := filepath.Join(r.p.state, "default.db"), filepath.Join(r.p.state, "etcd")
	r.identity(nothing)
	if err := os.WriteFile(path, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	says := func(p paths) string {
		t.Helper()
		cp, err := openCheckpoint(r.set, p)
		if err == nil {
			_ = cp.Close()
			t.Fatal("accepted")
		}
		if !errors.Is(err, store.ErrDamaged) || errors.Is(err, errSetting) || !strings.Contains(err.Error(), path) {
			t.Errorf("not the error of a damaged file that is looked at again: %v", err)
		}
		return err.Error()
	}
	if text := says(r.p); !strings.Contains(text, "move it away to start anew") || strings.Contains(text, etcd) {
		t.Error(text)
	}
	if err := os.Mkdir(etcd, 0o700); err != nil {
		t.Fatal(err)
	}
	if text := says(r.p); !strings.Contains(text, "move both it and "+etcd+" away to found the environment anew") {
		t.Error(text)
	}
	managed := r.p
	managed.managed = true
	if text := says(managed); !strings.Contains(text, "propagated-mount on the host") {
		t.Error(text)
	}
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if anew := r.identity(nothing); anew.CAKey.Empty() {
		t.Error("not founded anew")
	}
}
