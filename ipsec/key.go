package ipsec

import (
	"fmt"
	"io"
)

// KeySize is the length of a Key in bytes: a 256-bit cipher key followed by a 32-bit salt.
const KeySize = 36

// Key is the keying material of one SA. It is never printed: every fmt verb, JSON, text and log output gives "(key)".
//
// The bytes are in an exported field on purpose: fmt ignores the methods of values in unexported fields, so keep a Key
// itself in exported fields, too.
type Key struct {
	Bytes [KeySize]byte
}

const redacted = "(key)"

// Format implements fmt.Formatter for every verb.
func (Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String implements fmt.Stringer.
func (Key) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Key) GoString() string { return redacted }

// MarshalText implements encoding.TextMarshaler, which JSON uses as well.
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalBinary refuses: a key never leaves the process.
func (Key) MarshalBinary() ([]byte, error) { return nil, fmt.Errorf("a key is never marshalled") }

// GobEncode refuses, as MarshalBinary does.
func (k Key) GobEncode() ([]byte, error) { return k.MarshalBinary() }

// Wipe overwrites the key with zeros.
func (k *Key) Wipe() { clear(k.Bytes[:]) }
