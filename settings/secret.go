package settings

import (
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
)

// Secret is a setting that must not be seen: a key, or the path of a file that holds it. It is never printed: every fmt
// verb, JSON, text and log output gives "(secret)". Keep it in exported fields, because fmt ignores the methods of values
// in unexported ones.
type Secret struct {
	Text string
}

// None is what PPK_OLD says for hosts without a PPK.
const None = "none"

const redacted = "(secret)"

// Format implements fmt.Formatter for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return redacted }

// MarshalText implements encoding.TextMarshaler, which JSON uses as well.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

var hexKey = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

// secret reads a key's setting. What is wrong is said without the value.
func (p *parser) secret(name string, words ...string) Secret {
	v := p.v[name]
	if v != "" && !hexKey.MatchString(v) && !filepath.IsAbs(v) && !slices.Contains(words, v) {
		p.errs = append(p.errs, fmt.Errorf("setting %s: want 64 hex digits (openssl rand -hex 32) or the absolute path of a file that holds them", name))
	}
	return Secret{v}
}
