package store

import (
	"fmt"
	"io"
)

// Secret is a private key. It is never printed: every fmt verb, JSON, text and log output gives "(secret)".
//
// The bytes are in an exported field on purpose: fmt ignores the methods of values in unexported fields, so keep a Secret
// itself in exported fields, too.
type Secret struct {
	Bytes []byte
}

const redacted = "(secret)"

// Format implements fmt.Formatter for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return redacted }

// MarshalText implements encoding.TextMarshaler, which JSON uses as well.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalBinary refuses: a secret leaves the process only through Token.Encode and the Checkpoint.
func (Secret) MarshalBinary() ([]byte, error) { return nil, fmt.Errorf("secret: never marshalled") }

// GobEncode refuses, as MarshalBinary does.
func (s Secret) GobEncode() ([]byte, error) { return s.MarshalBinary() }

// Empty says that there is no secret.
func (s Secret) Empty() bool { return len(s.Bytes) == 0 }
