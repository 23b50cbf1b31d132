package main

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

// holders are the files below a folder that hold the private key of a PEM bundle, in any of the forms that it is written in.
func holders(t *testing.T, folder, bundle string) (found []string) {
	t.Helper()
	var forms [][]byte
	for block, rest := pem.Decode([]byte(bundle)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "PRIVATE KEY" {
			continue
		}
		text := pem.EncodeToMemory(block)
		forms = [][]byte{block.Bytes[len(block.Bytes)-32:], // RFC 8410: the seed is the end of it
			[]byte(base64.StdEncoding.EncodeToString(block.Bytes)), []byte(base64.StdEncoding.EncodeToString(text))}
	}
	if forms == nil {
		t.Fatal("no key in the bundle")
	}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		for _, form := range forms {
			if bytes.Contains(content, form) {
				found = append(found, path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestTheAuthoritysKeyIsTakenOffLine: what runs goes on without the key, and commands take it from a file.
func TestTheAuthoritysKeyIsTakenOffLine(t *testing.T) {
	start := founder(t, t.TempDir())
	n := start()
	bundle, err := n.exportAuthority()
	if err != nil {
		t.Fatal(err)
	}
	if len(holders(t, n.state, bundle)) == 0 {
		t.Fatal("the key is nowhere: the test would find nothing")
	}
	if err := n.authorityExported(true); err != nil {
		t.Fatal(err)
	}
	if found := holders(t, n.state, bundle); len(found) != 0 {
		t.Errorf("the key is still in %s", found)
	}
	teststore.Wait(t, "the word that nobody has the key", func() bool {
		w, problems := warnings(n.checkpoint.Local().Identity, n.store.Snapshot(), time.Now())
		return len(w) == 1 && len(problems) == 0 && strings.Contains(w[0], "no host holds the key") &&
			strings.Contains(w[0], time.Now().Add(store.HostTTL).UTC().Format(time.DateOnly))
	})
	if _, problems := warnings(n.checkpoint.Local().Identity, n.store.Snapshot(), time.Now().Add(store.HostTTL-renewSoon)); len(problems) != 1 {
		t.Errorf("problems a month before the end: %q", problems)
	}
	if err := n.close(); err != nil {
		t.Fatal(err)
	}

	n = start() // with its etcd, and not as a host that has to join
	if err := n.keepsGoing(); err != nil {
		t.Error(err)
	}
	if _, err := n.token(control.Token{}); err == nil || !strings.Contains(err.Error(), "--ca-key") {
		t.Errorf("a token without the key: %v", err)
	}
	if _, err := n.token(control.Token{CA: "x"}); err == nil {
		t.Error("a token with nonsense for a key")
	}
	other, err := store.NewCA("default")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.token(control.Token{CA: string(other.Bundle().Bytes)}); err == nil || !strings.Contains(err.Error(), "another environment") {
		t.Errorf("a token by another authority: %v", err)
	}
	text, err := n.token(control.Token{CA: bundle, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	token, err := store.ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	joined, its := member(t, token)
	if err := joined.openStore(its.run, paths{}, func(string) {}); err != nil {
		t.Fatal(err)
	}
	joined.store.SetHost(store.Host{Name: "edge"})
	teststore.Wait(t, "both hosts", func() bool { return len(n.store.Snapshot().Hosts) == 2 })
	was := joined.checkpoint.Local().Identity.Cert
	if count, err := n.renewCertificates(t.Context(), bundle); err != nil || count != "2" {
		t.Errorf("%s certificates renewed, %v", count, err)
	}
	teststore.Wait(t, "the host's new certificate", func() bool { return !bytes.Equal(was, joined.checkpoint.Local().Identity.Cert) })
	if _, err := n.removeHost(t.Context(), "nobody", bundle); err == nil || strings.Contains(err.Error(), "--ca-key") {
		t.Error(err)
	}
	if len(holders(t, n.state, bundle)) != 0 {
		t.Error("the key was kept that was given for once")
	}

	if err := joined.replaceAuthority(t.Context(), bundle); err == nil || !strings.Contains(err.Error(), "embedded etcd") {
		t.Errorf("replaced where the server is not: %v", err)
	}
	if err := n.replaceAuthority(t.Context(), bundle); err != nil {
		t.Fatal(err)
	}
	teststore.Wait(t, "certificates of the new authority", func() bool {
		late, replaced := store.Replaced(n.checkpoint.Local().Identity, n.store.Snapshot())
		return replaced && len(late) == 0 && len(n.store.Snapshot().Hosts) == 2
	})
	if w, _ := warnings(n.checkpoint.Local().Identity, n.store.Snapshot(), time.Now()); len(w) != 2 || !strings.Contains(w[0], "ca export") || !strings.Contains(w[1], "ca retire") {
		t.Errorf("warnings: %q", w)
	}
	if err := n.retireAuthority(t.Context(), bundle, true); err == nil || !strings.Contains(err.Error(), "exported since") {
		t.Errorf("retired by the old key: %v", err)
	}
	if err := n.retireAuthority(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	teststore.Wait(t, "the end of the old one here and there", func() bool {
		_, here := store.Replaced(n.checkpoint.Local().Identity, n.store.Snapshot())
		_, there := store.Replaced(joined.checkpoint.Local().Identity, joined.store.Snapshot())
		return !here && !there
	})
	if _, err := n.token(control.Token{CA: bundle}); err == nil {
		t.Error("a token by the authority that was replaced")
	}
	teststore.Wait(t, "etcd after its last start", func() bool { return n.keepsGoing() == nil })
	for _, host := range []*node{n.node, joined} {
		if why := host.checkpoint.Local().Identity.Outdated(); why != "" {
			t.Error(why)
		}
	}
}

// keepsGoing says whether the founder's etcd answers.
func (b began) keepsGoing() error { return b.store.Verify(b.ctx) }
