package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// KeySize is the keying material of an SA in bytes: a 256-bit key followed by a 32-bit salt (RFC 4106, section 8.1;
// RFC 7634, section 2).
const KeySize = 36

// Transform is a transform ID of IKEv2's registry for encryption algorithms.
type Transform uint16

// The transforms of this package.
const (
	AES256GCM        Transform = 20
	ChaCha20Poly1305 Transform = 28
)

// nonceSize is salt and explicit IV.
const nonceSize = 12

// keyed is what both directions of an SA have in common.
type keyed struct {
	aead  cipher.AEAD
	nonce [nonceSize]byte // salt, then the packet's explicit IV
	aad   [12]byte        // SPI, sequence number high, low (RFC 4106, section 5)
}

func newKeyed(spi uint32, t Transform, key *[KeySize]byte) (keyed, error) {
	k := keyed{}
	var err error
	switch t {
	case AES256GCM:
		block, e := aes.NewCipher(key[:32])
		if e != nil {
			return k, fmt.Errorf("aes-256: %w", e)
		}
		k.aead, err = cipher.NewGCM(block)
	case ChaCha20Poly1305:
		k.aead, err = chacha20poly1305.New(key[:32])
	default:
		return k, fmt.Errorf("transform %d: only 20 (aes-256-gcm) and 28 (chacha20-poly1305) are known", uint16(t))
	}
	if err != nil {
		return k, fmt.Errorf("transform %d: %w", uint16(t), err)
	}
	copy(k.nonce[:4], key[32:])
	k.aad[0], k.aad[1], k.aad[2], k.aad[3] = byte(spi>>24), byte(spi>>16), byte(spi>>8), byte(spi)
	return k, nil
}
