package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/meshsec/meshsec/ipsec/handshake"
	"github.com/meshsec/meshsec/settings"
)

// readPPKs reads PPK and PPK_OLD, the former first. An empty list: this host has none. An empty PPK beside a PPK_OLD is
// the wish to be without one, and so is PPK_OLD=none the readiness.
func readPPKs(set settings.Settings, p paths) ([]handshake.Secret, error) {
	if set.PPK.Text == "" && set.PPKOld.Text == "" {
		return nil, nil
	}
	ppk, err := readPPK("PPK", set.PPK, p)
	if err != nil || set.PPKOld.Text == "" {
		return []handshake.Secret{ppk}, err
	}
	old, err := readPPK("PPK_OLD", set.PPKOld, p)
	if err == nil && old == ppk {
		err = fmt.Errorf("%w PPK_OLD: it is the same key as PPK", errSetting)
	}
	return []handshake.Secret{ppk, old}, err
}

// readPPK reads one. The errors name neither the key nor the file: what was meant as the one may have been taken for the
// other.
func readPPK(name string, s settings.Secret, p paths) (ppk handshake.Secret, err error) {
	text := []byte(s.Text)
	switch {
	case s.Text == "" || s.Text == settings.None:
		return ppk, nil
	case s.Text[0] == '/':
		if text, err = readPrivate(p.host(s.Text)); err != nil {
			hint := ""
			if p.managed && p.host(s.Text) == s.Text {
				hint = " (the plugin sees only /etc and /run of the host)"
			}
			return ppk, fmt.Errorf("%w %s: its file: %w%s", errSetting, name, err, hint)
		}
	}
	defer clear(text)
	n, err := hex.Decode(ppk.Bytes[:], bytes.TrimSpace(text))
	if err != nil || n != len(ppk.Bytes) || ppk == (handshake.Secret{}) {
		return handshake.Secret{}, fmt.Errorf("%w %s: want 64 hex digits, not all zero (openssl rand -hex 32)", errSetting, name)
	}
	return ppk, nil
}

// ppkFileMax is more than any file with 64 digits has, in bytes.
const ppkFileMax = 128

// readPrivate reads a small file that only its owner may read.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	var where *fs.PathError
	if errors.As(err, &where) {
		return nil, where.Err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, errors.New("it can't be looked at")
	case !info.Mode().IsRegular():
		return nil, errors.New("it is no regular file")
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("others may read it (mode %#o): chmod 600", info.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, ppkFileMax+1))
	if err == nil && len(b) > ppkFileMax {
		err = errors.New("it is too long")
	}
	return b, err
}
