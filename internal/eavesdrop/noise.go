package eavesdrop

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
)

// protocol is exactly one hash long or is hashed (Noise, revision 34, section 5.2).
const protocol = "Noise_IKpsk2_25519_AESGCM_SHA256"

// state is Noise's SymmetricState (section 5.2), with the key of the last MixKey.
type state struct {
	ck, h, k []byte
	n        uint64
}

func hash(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// expand is Noise's HKDF: RFC 5869's without info.
func expand(ck, input []byte, n int) []byte {
	out, err := hkdf.Key(sha256.New, input, ck, "", 32*n)
	if err != nil {
		panic(err) // only for lengths that are not used here
	}
	return out
}

func begin(environment string, responder []byte) state {
	name := make([]byte, 32)
	if copy(name, protocol); len(protocol) > 32 {
		name = hash([]byte(protocol))
	}
	s := state{ck: name, h: name}
	s.mixHash(append([]byte("meshsec\x02"), environment...))
	s.mixHash(responder)
	return s
}

func (s *state) mixHash(b []byte) { s.h = hash(s.h, b) }

func (s *state) mixKey(b []byte) {
	out := expand(s.ck, b, 2)
	s.ck, s.k, s.n = out[:32], out[32:], 0
}

func (s *state) mixKeyAndHash(b []byte) {
	out := expand(s.ck, b, 3)
	s.mixHash(out[32:64])
	s.ck, s.k, s.n = out[:32], out[64:], 0
}

// open is DecryptAndHash; false: the keys are not the right ones.
func (s *state) open(sealed []byte) ([]byte, bool) {
	nonce := make([]byte, 12)
	binary.BigEndian.PutUint64(nonce[4:], s.n)
	plain, err := gcm(s.k).Open(nil, nonce, sealed, s.h)
	s.mixHash(sealed)
	s.n++
	return plain, err == nil
}

func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // keys have 32 bytes
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}
