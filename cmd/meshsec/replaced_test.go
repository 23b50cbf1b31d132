package main

import (
	"bytes"
	"testing"

	"github.com/meshsec/meshsec/store"
)

// JOIN stays set for years: what it says of the authority does not take back that this was replaced; only a new token for the
// same host does, which brings the host back that has slept over it.
func TestTokensAfterTheAuthorityWasReplaced(t *testing.T) {
	old, err := store.NewCA("default")
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := store.NewCA("default")
	if err != nil {
		t.Fatal(err)
	}
	token, err := old.NewToken([]string{"https://192.0.2.1:2379"}, "edge", 0)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, map[string]string{"JOIN": token.Encode()})
	id := r.identity(func(l *store.Local) {
		l.Endpoints["e"] = store.LocalEndpoint{} // it has containers
	})
	if !bytes.Equal(id.CA, old.Cert) {
		t.Fatal("not joined")
	}
	r.identity(func(l *store.Local) { l.Identity.CA = fresh.Cert })
	if again := r.identity(func(*store.Local) {}); !bytes.Equal(again.CA, fresh.Cert) || again.Outdated() == "" {
		t.Error("the old token took the new authority back, or nothing is said about the certificate")
	}
	renewal, err := fresh.NewTokenFor(token.HostID, token.Endpoints, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	r.set.Join = renewal.Encode()
	back := r.identity(func(*store.Local) {})
	if back.HostID != id.HostID || !bytes.Equal(back.Private.Bytes, id.Private.Bytes) || bytes.Equal(back.Key.Bytes, id.Key.Bytes) ||
		!bytes.Equal(back.CA, fresh.Cert) || back.Outdated() != "" {
		t.Error("a token for the same host does not bring it back")
	}

	// The same for one that has not heard of the replacement.
	r = newRig(t, map[string]string{"JOIN": token.Encode()})
	r.identity(func(*store.Local) {})
	r.set.Join = renewal.Encode()
	if back := r.identity(func(*store.Local) {}); !bytes.Equal(back.CA, fresh.Cert) || back.Outdated() != "" {
		t.Error("a token for the same host does not tell it of the new authority")
	}
}
