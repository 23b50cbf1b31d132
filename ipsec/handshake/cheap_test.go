package handshake

import (
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"

	"github.com/flynn/noise"
)

// cheapDH is Diffie-Hellman in the multiplicative group of 2^61-1: no security, a hundredth of the cost, so that thousands
// of schedules can be tried. Everything else of the handshake is the real thing.
type cheapDH struct{}

const mersenne61 = 1<<61 - 1

func mulMod(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	_, rem := bits.Div64(hi, lo, mersenne61)
	return rem
}

func powMod(base, exp uint64) uint64 {
	result := uint64(1)
	for ; exp > 0; exp >>= 1 {
		if exp&1 == 1 {
			result = mulMod(result, base)
		}
		base = mulMod(base, base)
	}
	return result
}

func (cheapDH) GenerateKeypair(random io.Reader) (noise.DHKey, error) {
	k := noise.DHKey{Private: make([]byte, 32), Public: make([]byte, 32)}
	if _, err := io.ReadFull(random, k.Private); err != nil {
		return k, err
	}
	binary.BigEndian.PutUint64(k.Public, powMod(37, binary.BigEndian.Uint64(k.Private)))
	return k, nil
}

func (cheapDH) DH(private, public []byte) ([]byte, error) {
	base := binary.BigEndian.Uint64(public) % mersenne61
	if base == 0 {
		return nil, errors.New("low order point")
	}
	shared := make([]byte, 32)
	binary.BigEndian.PutUint64(shared, powMod(base, binary.BigEndian.Uint64(private)))
	return shared, nil
}

func (cheapDH) DHLen() int     { return 32 }
func (cheapDH) DHName() string { return "cheap" }

// cheapSuite has messages of the same lengths as the real one.
func cheapSuite() suite {
	return suite{
		noise: noise.NewCipherSuite(cheapDH{}, noise.CipherAESGCM, noise.HashSHA256),
		generate: func(random io.Reader) (func([]byte) ([]byte, error), []byte, error) {
			k, err := cheapDH{}.GenerateKeypair(random)
			public := make([]byte, mlkem.EncapsulationKeySize768)
			copy(public, k.Public)
			return func(ciphertext []byte) ([]byte, error) { return cheapDH{}.DH(k.Private, ciphertext[:32]) }, public, err
		},
		encapsulate: func(public []byte) (secret, ciphertext []byte, err error) {
			// The private key is a hash of the public one: equal runs stay equal.
			private := sha256.Sum256(public)
			ciphertext = make([]byte, mlkem.CiphertextSize768)
			binary.BigEndian.PutUint64(ciphertext, powMod(37, binary.BigEndian.Uint64(private[:])))
			secret, err = cheapDH{}.DH(private[:], public[:32])
			return secret, ciphertext, err
		},
	}
}

// fixedSuite is the real one with the randomness of ML-KEM taken from the encapsulation key, so that equal runs are equal.
func fixedSuite() suite {
	s := standardSuite()
	s.encapsulate = func(public []byte) (secret, ciphertext []byte, err error) {
		key, err := mlkem.NewEncapsulationKey768(public)
		if err != nil {
			return nil, nil, err
		}
		random := sha256.Sum256(public)
		return mlkemtest.Encapsulate768(key, random[:])
	}
	return s
}
