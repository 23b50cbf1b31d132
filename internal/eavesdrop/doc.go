// Package eavesdrop is the passive attacker of the tests: it has recorded everything on the underlay, later gets hold of
// secrets, and tries to open what it has. It shares no code with the handshake or the data planes, only their wire format.
package eavesdrop

import (
	"crypto/ecdh"
	"encoding/binary"
)

// Attacker is what it knows. Every slice is tried in every place where it could fit.
type Attacker struct {
	Environment string
	Publics     [][]byte // X25519 public keys of all hosts, which anyone may know
	Privates    [][]byte // X25519 private keys that it has got hold of, static or ephemeral; 32 bytes each
	PPKs        [][]byte // pre-shared keys; 32 bytes each
	KEMs        [][]byte // ML-KEM shared secrets; 32 bytes each
}

// Message is a handshake message as it crossed the underlay, of one or two datagrams.
type Message struct {
	Kind             byte
	Sender, Receiver uint32
	Body             []byte
}

const (
	kindInit       = 1
	kindResponse   = 2
	kindInitCookie = 4
	headerLen      = 28
)

// Messages puts handshake datagrams (without the non-ESP marker) together to messages; what is something else is left out.
func Messages(datagrams [][]byte) (all []Message) {
	type part struct {
		kind   byte
		sender uint32
	}
	first := map[part][]byte{}
	for _, d := range datagrams {
		front := headerLen
		if len(d) > 0 && d[0] == kindInitCookie {
			front += 16
		}
		if len(d) <= front || d[0] != kindInit && d[0] != kindResponse && d[0] != kindInitCookie {
			continue
		}
		m := Message{Kind: d[0], Sender: binary.BigEndian.Uint32(d[4:]), Receiver: binary.BigEndian.Uint32(d[8:]), Body: d[front:]}
		switch k := (part{m.Kind, m.Sender}); {
		case d[3] == 1:
			all = append(all, m)
		case d[2] == 0:
			first[k] = m.Body
		case first[k] != nil:
			m.Body = append(append([]byte(nil), first[k]...), m.Body...)
			all = append(all, m)
		}
	}
	return all
}

// shared gives all Diffie-Hellman results between its private keys and the public ones.
func (a *Attacker) shared(publics ...[]byte) (secrets [][]byte) {
	for _, raw := range a.Privates {
		private, err := ecdh.X25519().NewPrivateKey(raw)
		if err != nil {
			continue
		}
		for _, p := range publics {
			public, err := ecdh.X25519().NewPublicKey(p)
			if err != nil {
				continue
			}
			if s, err := private.ECDH(public); err == nil {
				secrets = append(secrets, s)
			}
		}
	}
	return secrets
}
