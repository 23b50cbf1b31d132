package eavesdrop

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
)

// Init is an init that it could open, which the responder's static key is enough for.
type Init struct {
	state
	index             uint32 // by which its response is known
	ephemeral, static []byte // public keys of the initiator
	SPI               uint32 // towards the initiator
	Sender, Receiver  string // host IDs
}

// OpenInit opens an init with whatever private keys it has, under each public key as the receiver's.
func (a *Attacker) OpenInit(m Message) *Init {
	if m.Kind == kindResponse || len(m.Body) < 96 {
		return nil
	}
	e, sealed, payload := m.Body[:32], m.Body[32:80], m.Body[80:]
	for _, responder := range a.Publics {
		first := begin(a.Environment, responder)
		first.mixHash(e)
		first.mixKey(e)
		for _, es := range a.shared(e, responder) {
			s := first
			s.mixKey(es)
			static, ok := s.open(sealed)
			if !ok {
				continue
			}
			for _, ss := range a.shared(static, responder) {
				t := s
				t.mixKey(ss)
				if b, ok := t.open(payload); ok && len(b) > 1197 {
					i := &Init{state: t, index: m.Sender, ephemeral: e, static: static, SPI: binary.BigEndian.Uint32(b[8:])}
					ids := b[1197+2*int(b[1196]):]
					i.Sender, ids = string(ids[1:1+ids[0]]), ids[1+ids[0]:]
					i.Receiver = string(ids[1 : 1+ids[0]])
					return i
				}
			}
		}
	}
	return nil
}

// Key opens ESP in one direction: 32 bytes of key and 4 of salt.
type Key struct {
	SPI uint32
	Key []byte
}

// Derive tries to open the response to an init and gives the keys of the pair that came of it, with each KEM secret that it
// has; nil when the response does not open. Without the right KEM secret the keys are wrong ones.
func (a *Attacker) Derive(i *Init, m Message) (keys []Key) {
	if m.Kind != kindResponse || m.Receiver != i.index || len(m.Body) < 64 {
		return nil
	}
	e := m.Body[:32]
	first := i.state
	first.mixHash(e)
	first.mixKey(e)
	for _, ee := range a.shared(e, i.ephemeral) {
		for _, se := range a.shared(e, i.static) {
			for _, psk := range a.PPKs {
				s := first
				s.mixKey(ee)
				s.mixKey(se)
				s.mixKeyAndHash(psk)
				if b, ok := s.open(m.Body[32:]); ok && len(b) > 14 {
					keys = append(keys, a.split(s, i, b)...)
				}
			}
		}
	}
	return keys
}

// split derives the SAs' keys as the package comment of the handshake says.
func (a *Attacker) split(s state, i *Init, payload []byte) (keys []Key) {
	noise := expand(s.ck, nil, 2)
	spi, chosen := binary.BigEndian.Uint32(payload[8:]), payload[12:14]
	for _, kem := range a.KEMs {
		for direction, towards := range map[byte]uint32{1: spi, 2: i.SPI} {
			info := append([]byte("meshsec esp"), direction, byte(len(i.Sender)))
			info = append(append(append(info, i.Sender...), byte(len(i.Receiver))), i.Receiver...)
			info = append(binary.BigEndian.AppendUint32(info, towards), chosen...)
			key, err := hkdf.Key(sha256.New, append(append([]byte(nil), noise...), kem...), s.h, string(info), 36)
			if err != nil {
				panic(err)
			}
			keys = append(keys, Key{towards, key})
		}
	}
	return keys
}
