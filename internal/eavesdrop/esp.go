package eavesdrop

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/crypto/chacha20poly1305"
)

// Opens says whether 36 bytes, key and salt, open a packet of ESP (RFC 4303) with either cipher (RFC 4106, RFC 7634) and
// extended sequence numbers of which the upper half is zero.
func Opens(key, packet []byte) bool {
	if len(key) < 36 || len(packet) < 32 {
		return false
	}
	aad := append(append(append([]byte(nil), packet[:4]...), 0, 0, 0, 0), packet[4:8]...)
	nonce := append(append([]byte(nil), key[32:36]...), packet[8:16]...)
	if _, err := gcm(key[:32]).Open(nil, nonce, packet[16:], aad); err == nil {
		return true
	}
	chacha, err := chacha20poly1305.New(key[:32])
	if err != nil {
		panic(err) // keys have 32 bytes
	}
	_, err = chacha.Open(nil, nonce, packet[16:], aad)
	return err == nil
}

// SPI of a packet.
func SPI(packet []byte) uint32 { return binary.BigEndian.Uint32(packet) }

// OpensAnywhere says whether any 36 bytes of what it has got hold of open the packet: a key that was left lying about.
func OpensAnywhere(loot, packet []byte) bool {
	for i := 0; i+36 <= len(loot); i++ {
		if !bytes.Equal(loot[i:i+8], make([]byte, 8)) && Opens(loot[i:i+36], packet) {
			return true
		}
	}
	return false
}

// OpensNear is OpensAnywhere for loot of any size, such as a process's memory: it looks around the packet's SPI, which stands
// beside its key.
func OpensNear(loot, packet []byte) bool {
	const around = 64
	for _, spi := range [][]byte{packet[:4], {packet[3], packet[2], packet[1], packet[0]}} {
		for at := 0; ; {
			i := bytes.Index(loot[at:], spi)
			if i < 0 {
				break
			}
			at += i + 1
			if OpensAnywhere(loot[max(0, at-around):min(len(loot), at+around)], packet) {
				return true
			}
		}
	}
	return false
}
