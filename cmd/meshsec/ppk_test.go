package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/ipsec/handshake"
	"github.com/meshsec/meshsec/settings"
)

func TestPPKsAreRead(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two := strings.Repeat("01", 32), strings.Repeat("02", 32)
	secret := func(b byte) (s handshake.Secret) {
		for i := range s.Bytes {
			s.Bytes[i] = b
		}
		return s
	}
	good, open := file("good", "\n  "+two+"\n", 0o600), file("open", two, 0o640)
	short, long := file("short", two[2:], 0o600), file("long", strings.Repeat(two, 9), 0o400)
	for _, c := range []struct {
		ppk, old string
		want     []handshake.Secret
		wrong    string
	}{
		{"", "", nil, ""},
		{one, "", []handshake.Secret{secret(1)}, ""},
		{good, "", []handshake.Secret{secret(2)}, ""},
		{one, good, []handshake.Secret{secret(1), secret(2)}, ""},
		{one, settings.None, []handshake.Secret{secret(1), {}}, ""},
		{"", one, []handshake.Secret{{}, secret(1)}, ""},
		{two, good, nil, "setting PPK_OLD: it is the same key as PPK"},
		{open, "", nil, "setting PPK: its file: others may read it (mode 0640): chmod 600"},
		{short, "", nil, "setting PPK: want 64 hex digits"},
		{one, long, nil, "setting PPK_OLD: its file: it is too long"},
		{dir, "", nil, "setting PPK: its file: it is no regular file"},
		{"/" + one, "", nil, "setting PPK: its file: no such file or directory"},
		{strings.Repeat("0", 64), "", nil, "not all zero"},
	} {
		set := settings.Settings{PPK: settings.Secret{Text: c.ppk}, PPKOld: settings.Secret{Text: c.old}}
		got, err := readPPKs(set, paths{})
		if c.wrong != "" {
			if !errors.Is(err, errSetting) || !strings.Contains(err.Error(), c.wrong) || strings.Contains(err.Error(), one) || strings.Contains(err.Error(), two) {
				t.Errorf("%v, want %q", err, c.wrong)
			}
			continue
		}
		if err != nil || len(got) != len(c.want) {
			t.Errorf("%d keys, %v; want %d", len(got), err, len(c.want))
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("key %d is another one", i)
			}
		}
	}
	_, err := readPPKs(settings.Settings{PPK: settings.Secret{Text: "/srv/ppk"}}, paths{}.inPlugin())
	if err == nil || !strings.Contains(err.Error(), "the plugin sees only /etc and /run of the host") {
		t.Error(err)
	}
}
