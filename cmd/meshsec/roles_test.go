package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/store"
)

func TestRolesAreForThoseNamed(t *testing.T) {
	ca, err := store.NewCA("default")
	if err != nil {
		t.Fatal(err)
	}
	token, err := ca.NewToken(nil, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	const one, two = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"
	hosts := []control.Host{{ID: one, Authority: true}, {ID: two}}
	all, err := roles("default", hosts, nil, false)
	if err != nil || !slices.Contains(all, "user grant-role "+one+" meshsec-default-authority") || slices.Contains(all, "user grant-role "+two+" meshsec-default-authority") ||
		!slices.Contains(all, "role add meshsec-default") {
		t.Errorf("%q, %v", all, err)
	}
	some, err := roles("default", hosts, []string{two, token.Encode()}, false)
	if err != nil || slices.Contains(some, "role add meshsec-default") || !slices.Contains(some, "user add "+two+" --no-password") ||
		!slices.Contains(some, "user add "+token.HostID+" --no-password") || slices.Contains(some, "user add "+one+" --no-password") {
		t.Errorf("%q, %v", some, err)
	}
	if gone, err := roles("default", hosts, []string{two}, true); err != nil || gone[0] != "user delete "+two || len(gone) != 2 {
		t.Errorf("%q, %v", gone, err)
	}
	for what, args := range map[string][]string{"a name": {"edge"}, "another environment's": {token.Encode()}} {
		if _, err := roles("other", hosts, args, false); err == nil {
			t.Errorf("%s was taken", what)
		} else if strings.Contains(err.Error(), token.Encode()) {
			t.Errorf("%s: the token is quoted", what)
		}
	}
	if _, err := roles("default", hosts, nil, true); err == nil {
		t.Error("everybody is shut out")
	}
	if out, err := run(t, shown{}, "etcd-roles", "--removed", two); err != nil || !strings.Contains(out, "\n# ") || !strings.Contains(out, "restart") {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := run(t, shown{}, "etcd-roles"); err != nil || !strings.HasPrefix(out, "etcdctl role add ") {
		t.Errorf("%q, %v", out, err)
	}
}
