package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/store"
)

func TestTheAuthorityIsWrittenAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.pem")
	if out, err := run(t, shown{}, "ca", "export", path); err != nil || out != "" {
		t.Fatal(out, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := run(t, shown{}, "ca", "export", path); err == nil {
		t.Error("a file was overwritten")
	}
	if _, err := run(t, shown{}, "ca", "import", path); err != nil {
		t.Error(err)
	}
	for want, args := range map[string][]string{
		"meshsec1.tokenbundle\n":    {"token", "--ca-key", path},
		"meshsec1.tokenoldbundle\n": {"token", "--for", "old", "--ca-key", path},
		"id of h2bundle\n":          {"host", "rm", "h2", "--ca-key", path},
		"3 certificates renewed\n":  {"ca", "renew", "--ca-key", path},
	} {
		if out, err := run(t, shown{}, args...); err != nil || out != want {
			t.Errorf("%s: %q, %v", args, out, err)
		}
	}
	for want, args := range map[string][]string{
		"replace bundle": {"ca", "replace", "--ca-key", path}, "replace ": {"ca", "replace"},
		"retire bundle true": {"ca", "retire", "--force", "--ca-key", path}, "retire  false": {"ca", "retire"},
		"no such file": {"ca", "replace", "--ca-key", path + ".no"}, "is empty": {"token", "--ca-key", "/dev/null"},
	} {
		if _, err := run(t, shown{}, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
	if err := os.WriteFile(path, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, shown{}, "ca", "import", path); err == nil {
		t.Error("nonsense was imported")
	}
	if _, err := run(t, shown{}, "ca", "import", path+".no"); err == nil {
		t.Error("nothing was imported")
	}
}

func TestTheFounderIsWarnedUntilItHasExported(t *testing.T) {
	r := newRig(t, nil)
	cp, err := r.open()
	if err != nil {
		t.Fatal(err)
	}
	defer cp.Close()
	n := &node{checkpoint: cp, id: cp.Local().Identity}
	warned := func(n *node) []string {
		w, _ := warnings(n.checkpoint.Local().Identity, &store.Snapshot{}, time.Now())
		return w
	}
	if w := warned(n); len(w) != 1 || !strings.Contains(w[0], "meshsec ca export") {
		t.Errorf("warnings: %q", w)
	}
	bundle, err := n.exportAuthority()
	if err != nil {
		t.Fatal(err)
	}
	if len(warned(n)) != 1 {
		t.Error("the warning ended before the file was written")
	}
	if err := n.authorityExported(false); err != nil || len(warned(n)) != 0 {
		t.Errorf("still warned: %v", err)
	}

	ca, err := store.ParseBundle("default", store.Secret{Bytes: []byte(bundle)})
	if err != nil {
		t.Fatal(err)
	}
	token, err := ca.NewToken([]string{"https://192.0.2.1:2379"}, "second", 0)
	if err != nil {
		t.Fatal(err)
	}
	second, _ := member(t, token)
	if _, err := second.token(control.Token{Name: "third"}); err == nil {
		t.Error("a token without the authority")
	}
	if err := second.addAuthority(bundle); err != nil {
		t.Fatal(err)
	}
	if _, err := second.token(control.Token{Name: "third"}); err != nil || len(warned(second)) != 0 {
		t.Error(err, warned(second))
	}
	// JOIN stays set: the same token at the next start takes nothing away, even when its file is gone.
	id := second.checkpoint.Local().Identity
	if again := id.After(id); !bytes.Equal(again.CAKey.Bytes, id.CAKey.Bytes) || !isMember(again) {
		t.Error("the authority is lost with a restart")
	}
}
