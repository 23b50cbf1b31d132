package handshake

import (
	"crypto/ecdh"
	"fmt"
	"io"
)

// Secret is 32 secret bytes: an X25519 private key (RFC 7748) or a pre-shared key. Like ipsec.Key it is never printed:
// every fmt verb, JSON, text and log output gives "(secret)". Keep it in exported fields, because fmt ignores the
// methods of values in unexported ones.
type Secret struct {
	Bytes [32]byte
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

// MarshalBinary refuses: the handshake never writes a secret anywhere.
func (Secret) MarshalBinary() ([]byte, error) { return nil, fmt.Errorf("a secret is never marshalled") }

// GobEncode refuses, as MarshalBinary does.
func (s Secret) GobEncode() ([]byte, error) { return s.MarshalBinary() }

// Public returns the X25519 public key that belongs to s as a private key: what other hosts must know of this one.
func (s Secret) Public() [32]byte {
	var public [32]byte
	// Every 32 bytes are an X25519 private key, so the only error there is, of length, can't occur.
	if private, err := ecdh.X25519().NewPrivateKey(s.Bytes[:]); err == nil {
		copy(public[:], private.PublicKey().Bytes())
	}
	return public
}
