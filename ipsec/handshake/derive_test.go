package handshake

import (
	"encoding/hex"
	"testing"

	"github.com/meshsec/meshsec/ipsec"
)

// The vectors come from an independent HKDF, written from RFC 5869: salt 00…1f, input 64…c3, hosts alpha and beta.
func TestKeyVectors(t *testing.T) {
	m := master{hash: make([]byte, 32), initiator: "alpha", responder: "beta"}
	for i := range m.hash {
		m.hash[i] = byte(i)
	}
	for i := range m.input {
		m.input[i] = byte(100 + i)
	}
	for _, v := range []struct {
		direction byte
		spi       ipsec.SPI
		cipher    ipsec.Cipher
		want      string
	}{
		{fromInitiator, 0x12345678, ipsec.AES256GCM, "76b226aacfeb2662ce362cbbe4f3a87e211494cdbd4e7b82516912b222d5a3fde73b6b01"},
		{toInitiator, 0x12345678, ipsec.AES256GCM, "feea94f265b0e36dc5dee15b73c865264d44eda212b52b25710684a1131e53cea4ab9b1b"},
		{fromInitiator, 0x12345679, ipsec.AES256GCM, "b28d9d8c379f91ba9c5a801685d5ca19a1609a64ac198154088eededf51861006285bdb6"},
		{fromInitiator, 0x12345678, ipsec.ChaCha20Poly1305, "efae4b4ee10e24f5945395e88d52f1c692bb9c5f16b9a634da17b147b4437e7ab50a8124"},
	} {
		m.cipher = v.cipher
		key, err := m.key(v.direction, v.spi)
		if got := hex.EncodeToString(key.Bytes[:]); err != nil || got != v.want {
			t.Errorf("direction %d, SPI %v, %v: %s, %v; want %s", v.direction, v.spi, v.cipher, got, err, v.want)
		}
	}
	m.wipe()
	if m.input != [96]byte{} {
		t.Error("the input is not erased")
	}
}

// Host IDs are delimited: moving a byte from one to the other gives another key.
func TestKeyInfoIsUnambiguous(t *testing.T) {
	one := master{hash: make([]byte, 32), initiator: "ab", responder: "c", cipher: ipsec.AES256GCM}
	two := one
	two.initiator, two.responder = "a", "bc"
	k1, err1 := one.key(fromInitiator, 256)
	k2, err2 := two.key(fromInitiator, 256)
	if err1 != nil || err2 != nil || k1 == k2 {
		t.Error("equal keys for different hosts", err1, err2)
	}
}

// RFC 7748, section 5.2: the first iteration multiplies the base point by its own encoding.
func TestSecretPublic(t *testing.T) {
	s := Secret{Bytes: [32]byte{9}}
	public := s.Public()
	if got := hex.EncodeToString(public[:]); got != "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079" {
		t.Error(got)
	}
	m, err := NewMachine(Identity{HostID: "a", Environment: "e", Private: s}, nil, Options{})
	if err != nil || [32]byte(m.static.Public) != public {
		t.Error("the machine has another public key", err)
	}
}
