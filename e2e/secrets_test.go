package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
	"github.com/meshsec/meshsec/store"
)

// pluginState is where the host's managed plugin keeps its state, as the machine sees it.
func pluginState(t *testing.T, h *testnet.Host) string {
	t.Helper()
	found, _ := filepath.Glob(fmt.Sprintf("/proc/%d/root%s/plugins/*/propagated-mount", h.Pid(), h.Data("docker")))
	if len(found) != 1 {
		t.Fatalf("%d state folders", len(found))
	}
	return found[0]
}

// secretsOf are a host's secrets, in all forms in which they might be written, by name.
func secretsOf(t *testing.T, h *testnet.Host) map[string][]byte {
	t.Helper()
	replica := filepath.Join(t.TempDir(), "default.db")
	content, err := os.ReadFile(filepath.Join(pluginState(t, h), "default.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(replica, content, 0o600); err != nil {
		t.Fatal(err)
	}
	cp, err := store.OpenCheckpoint(replica)
	if err != nil {
		t.Fatal(err)
	}
	defer cp.Close()
	forms := map[string][]byte{}
	add := func(name string, raw []byte) {
		if len(raw) < 16 {
			return
		}
		forms[name] = raw
		forms[name+" in hex"] = []byte(hex.EncodeToString(raw))
		// Base64 of a whole that has it at any place: three ways, without the ends that its neighbours have a part in.
		for shift := range 3 {
			text := base64.StdEncoding.EncodeToString(append(make([]byte, shift), raw...))
			forms[fmt.Sprintf("%s in base64 (%d)", name, shift)] = []byte(text[4 : len(text)-4])
		}
	}
	id := cp.Local().Identity
	add("handshake key", id.Private.Bytes)
	for name, key := range map[string]store.Secret{"host's key": id.Key, "authority's key": id.CAKey} {
		if block, _ := pem.Decode(key.Bytes); block != nil {
			add(name, block.Bytes[len(block.Bytes)-32:]) // RFC 8410: the seed is the end of it
		}
	}
	if len(forms) == 0 {
		t.Fatal("no secrets: nothing would be found")
	}
	return forms
}

// TestSecretsStayOnDisk: with everything logged, no secret is in a log, in a view, in the metrics, in etcd or in what Docker tells
// of the plugin; what is on disk is for root only; and a token in a file is needed once.
func TestSecretsStayOnDisk(t *testing.T) {
	s := own(t, 2)
	ctx := t.Context()
	founder, member := s.Hosts[0], s.Hosts[1]
	if err := founder.InstallPlugin(ctx, "LOG_LEVEL=trace"); err != nil {
		t.Fatal(err)
	}
	token, err := founder.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	file, err := member.WriteEtc("token", []byte(token+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := member.InstallPlugin(ctx, "LOG_LEVEL=trace", "JOIN="+file); err != nil {
		t.Fatal(err)
	}
	for _, h := range s.Hosts {
		if err := createMesh(ctx, h); err != nil {
			t.Fatal(err)
		}
	}
	a, b := start(t, founder, mesh, "one"), start(t, member, mesh, "two")
	s.reach(t, a, b.Addr)

	seen := map[string][]byte{}
	for _, h := range s.Hosts {
		show := func(what string, out string, err error) {
			if err != nil && out == "" {
				t.Errorf("%s of %s: %v", what, h.Name, err)
			}
			seen[what+" of "+h.Name] = []byte(out)
		}
		for _, view := range []string{"status", "hosts", "peers", "networks", "endpoints", "blocks", "version"} {
			out, err := h.Meshsec(ctx, view, "--json")
			show(view, out, err)
		}
		out, err := h.Docker(ctx, "plugin", "inspect", testnet.Plugin)
		show("plugin inspect", out, err)
		show("log", h.DockerdLog(1<<20), nil)
		out, err = metricsOf(h)
		show("metrics", out, err)
	}
	err = filepath.WalkDir(filepath.Join(pluginState(t, founder), "etcd", "member"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			seen["etcd's "+d.Name()], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string][]byte{"token": []byte(token[20:60])}
	for _, h := range s.Hosts {
		for name, form := range secretsOf(t, h) {
			secrets[name+" of "+h.Name] = form
		}
		private(t, h)
	}
	for where, text := range seen {
		if len(text) == 0 {
			t.Errorf("%s: empty", where)
		}
		for name, form := range secrets {
			if bytes.Contains(text, form) {
				t.Errorf("%s: in %s", name, where)
			}
		}
	}

	// The token has done its work: the file can go, and the setting.
	if err := os.Remove(filepath.Join(member.Dir(), "etc", "token")); err != nil {
		t.Fatal(err)
	}
	for _, join := range []string{file, ""} {
		s.disabled(t, member, func() error { return member.SetPlugin(ctx, "JOIN="+join) }, a, b)
		s.reach(t, a, b.Addr)
		eventually(t, "the member without its token", func() error {
			var status control.Status
			if err := member.MeshsecJSON(ctx, &status, "status"); err != nil {
				return err
			}
			if status.Health != control.OK {
				return fmt.Errorf("%s: %s", status.Health, strings.Join(status.Problems, "; "))
			}
			return nil
		})
	}
}

// metricsOf asks the host's agent for its metrics.
func metricsOf(h *testnet.Host) (text string, err error) {
	err = h.Enter(func() error {
		c, err := net.Dial("tcp", "127.0.0.1:9450")
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /metrics HTTP/1.0\r\n\r\n"); err != nil {
			return err
		}
		all, err := io.ReadAll(c)
		text = string(all)
		return err
	})
	return text, err
}

// private fails the test where others than root could read what the plugin keeps.
func private(t *testing.T, h *testnet.Host) {
	t.Helper()
	state := pluginState(t, h)
	err := filepath.WalkDir(state, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == state { // which is dockerd's, below a folder that is closed
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s of %s: mode %s", strings.TrimPrefix(path, state), h.Name, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
