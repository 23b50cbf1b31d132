package handshake

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/flynn/noise"

	"github.com/meshsec/meshsec/ipsec"
)

// Directions of an SA, as in the info of its key.
const (
	fromInitiator byte = 1
	toInitiator   byte = 2
)

// master is what both sides know after the second message.
type master struct {
	hash                 []byte   // Noise handshake hash
	input                [96]byte // both Noise keys and the ML-KEM secret
	initiator, responder string   // host IDs
	cipher               ipsec.Cipher
}

// newMaster takes the two cipher states in the order in which the handshake returns them on either side: the initiator's
// sending key first.
func newMaster(hash []byte, c1, c2 *noise.CipherState, kem []byte, initiator, responder string, c ipsec.Cipher) *master {
	m := &master{hash: hash, initiator: initiator, responder: responder, cipher: c}
	k1, k2 := c1.UnsafeKey(), c2.UnsafeKey()
	copy(m.input[:], k1[:])
	copy(m.input[32:], k2[:])
	copy(m.input[64:], kem)
	clear(k1[:])
	clear(k2[:])
	return m
}

// key derives key and salt of one direction.
func (m *master) key(direction byte, spi ipsec.SPI) (ipsec.Key, error) {
	info := append([]byte("meshsec esp"), direction)
	info = appendID(appendID(info, m.initiator), m.responder)
	info = binary.BigEndian.AppendUint32(info, uint32(spi))
	info = binary.BigEndian.AppendUint16(info, uint16(m.cipher))
	b, err := hkdf.Key(sha256.New, m.input[:], m.hash, string(info), ipsec.KeySize)
	if err != nil {
		return ipsec.Key{}, fmt.Errorf("key derivation: %w", err)
	}
	defer clear(b)
	return ipsec.Key{Bytes: [ipsec.KeySize]byte(b)}, nil
}

func (m *master) wipe() { clear(m.input[:]) }
