package handshake

import (
	"crypto/mlkem"
	"io"

	"github.com/flynn/noise"
)

// suite is the cryptography that a Machine uses: a Noise cipher suite and a key encapsulation mechanism. There is one; it
// is a value so that tests can fix its randomness, or trade its strength for speed.
type suite struct {
	noise       noise.CipherSuite
	generate    func(random io.Reader) (decapsulate func(ciphertext []byte) (secret []byte, err error), public []byte, err error)
	encapsulate func(public []byte) (secret, ciphertext []byte, err error)
}

func standardSuite() suite {
	return suite{
		noise:       noise.NewCipherSuite(noise.DH25519, noise.CipherAESGCM, noise.HashSHA256),
		generate:    generateMLKEM,
		encapsulate: encapsulateMLKEM,
	}
}

func generateMLKEM(random io.Reader) (func([]byte) ([]byte, error), []byte, error) {
	seed := make([]byte, mlkem.SeedSize)
	defer clear(seed)
	if _, err := io.ReadFull(random, seed); err != nil {
		return nil, nil, err
	}
	key, err := mlkem.NewDecapsulationKey768(seed)
	if err != nil {
		return nil, nil, err
	}
	return key.Decapsulate, key.EncapsulationKey().Bytes(), nil
}

func encapsulateMLKEM(public []byte) (secret, ciphertext []byte, err error) {
	key, err := mlkem.NewEncapsulationKey768(public)
	if err != nil {
		return nil, nil, err
	}
	secret, ciphertext = key.Encapsulate()
	return secret, ciphertext, nil
}

// prologue binds protocol version and environment into every handshake.
func prologue(environment string) []byte {
	return append([]byte{'m', 'e', 's', 'h', 's', 'e', 'c', protocolVersion}, environment...)
}
