package handshake

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/flynn/noise"

	"github.com/meshsec/meshsec/internal/eavesdrop"
	"github.com/meshsec/meshsec/ipsec"
)

// keptDH is X25519 that keeps the private keys which it makes.
type keptDH struct {
	noise.DHFunc
	made *[][]byte
}

func (d keptDH) GenerateKeypair(random io.Reader) (noise.DHKey, error) {
	k, err := d.DHFunc.GenerateKeypair(random)
	*d.made = append(*d.made, append([]byte(nil), k.Private...))
	return k, err
}

// tapped is a world of three hosts in which everything is recorded, also what no attacker can have.
type tapped struct {
	*world
	ephemerals, kems [][]byte
	between          map[[2]netip.AddrPort][][]byte
}

func newTapped(t *testing.T, ppk Secret) *tapped {
	tap := &tapped{between: map[[2]netip.AddrPort][][]byte{}}
	s := standardSuite()
	s.noise = noise.NewCipherSuite(keptDH{noise.DH25519, &tap.ephemerals}, noise.CipherAESGCM, noise.HashSHA256)
	s.encapsulate = func(public []byte) ([]byte, []byte, error) {
		secret, ciphertext, err := encapsulateMLKEM(public)
		tap.kems = append(tap.kems, append([]byte(nil), secret...))
		return secret, ciphertext, err
	}
	tap.world = newWorld(t, 1, func() suite { return s }, "x", "y", "z")
	tap.tap = func(from, to netip.AddrPort, msg []byte) {
		for _, ends := range [][2]netip.AddrPort{{from, to}, {to, from}} {
			tap.between[ends] = append(tap.between[ends], append([]byte(nil), msg...))
		}
	}
	for _, h := range tap.hosts {
		h.ppks = []Secret{ppk}
		h.options.Ciphers = []ipsec.Cipher{ipsec.AES256GCM}
		for i := range h.secret.Bytes {
			h.secret.Bytes[i] = byte(tap.rng.Uint32())
		}
		h.boot()
	}
	for i, h := range tap.hosts {
		for _, other := range tap.hosts[i+1:] {
			h.know(other)
			other.know(h)
		}
	}
	for i, h := range tap.hosts {
		for _, other := range tap.hosts[i+1:] {
			meet(t, h, other)
		}
	}
	tap.run(time.Second)
	return tap
}

// capture is a packet that a host sends to another, as on the wire.
func (w *tapped) capture(from, to *host) []byte {
	sa := *from.sas[to.id].Out
	packet := binary.BigEndian.AppendUint32(nil, uint32(sa.SPI))
	packet = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(packet, 7), 7)
	aad := append(append(append([]byte(nil), packet[:4]...), 0, 0, 0, 0), packet[4:8]...)
	block, err := aes.NewCipher(sa.Key.Bytes[:32])
	if err != nil {
		w.t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		w.t.Fatal(err)
	}
	return aead.Seal(packet, append(append([]byte(nil), sa.Key.Bytes[32:]...), packet[8:16]...), []byte("what a container says"), aad)
}

// opened counts the inits that an attacker opens of what two hosts have exchanged, the responses, and the packets in either
// direction.
func (w *tapped) opened(a *eavesdrop.Attacker, one, two *host) (inits, responses, packets int) {
	messages := eavesdrop.Messages(w.between[[2]netip.AddrPort{one.addr, two.addr}])
	captures := [][]byte{w.capture(one, two), w.capture(two, one)}
	for _, m := range messages {
		init := a.OpenInit(m)
		if init == nil {
			continue
		}
		inits++
		for _, r := range messages {
			keys := a.Derive(init, r)
			responses += min(1, len(keys))
			for _, k := range keys {
				for _, c := range captures {
					if k.SPI == eavesdrop.SPI(c) && eavesdrop.Opens(k.Key, c) {
						packets++
					}
				}
			}
		}
	}
	return inits, responses, packets
}

// Who has all secrets that host x keeps opens the inits that were sent to x, which hold no secrets, and nothing else: no response, no
// packet of x before that, and nothing at all of the pair y and z. The same attacker with the ephemeral secrets, too, opens
// everything, and with either half of them nothing.
func TestForwardSecrecy(t *testing.T) {
	w := newTapped(t, latter)
	x, y, z := w.hosts[0], w.hosts[1], w.hosts[2]
	stolen := eavesdrop.Attacker{Environment: "test", Privates: [][]byte{x.secret.Bytes[:]}, PPKs: [][]byte{latter.Bytes[:], none.Bytes[:]},
		KEMs: [][]byte{make([]byte, 32), x.secret.Bytes[:], latter.Bytes[:]}}
	for _, h := range w.hosts {
		public := h.secret.Public()
		stolen.Publics = append(stolen.Publics, public[:])
	}
	for _, c := range []struct {
		name string
		more func(a *eavesdrop.Attacker)
		all  bool // is it to open everything?
		half bool // … responses, but no packet
	}{
		{"all of x", func(*eavesdrop.Attacker) {}, false, false},
		{"all of x, and the KEM secrets", func(a *eavesdrop.Attacker) { a.KEMs = append(a.KEMs, w.kems...) }, false, false},
		{"all of x, and all X25519 keys", func(a *eavesdrop.Attacker) {
			a.Privates = append(append(a.Privates, w.ephemerals...), y.secret.Bytes[:], z.secret.Bytes[:])
		}, false, true},
		{"everything but the PPK", func(a *eavesdrop.Attacker) {
			a.Privates, a.KEMs = append(append(a.Privates, w.ephemerals...), y.secret.Bytes[:], z.secret.Bytes[:]), append(a.KEMs, w.kems...)
			a.PPKs = [][]byte{none.Bytes[:], former.Bytes[:]}
		}, false, false},
		{"everything", func(a *eavesdrop.Attacker) {
			a.Privates, a.KEMs = append(append(a.Privates, w.ephemerals...), y.secret.Bytes[:], z.secret.Bytes[:]), append(a.KEMs, w.kems...)
		}, true, true},
	} {
		a := stolen
		c.more(&a)
		for _, pair := range [][2]*host{{x, y}, {x, z}, {y, z}} {
			inits, responses, packets := w.opened(&a, pair[0], pair[1])
			t.Logf("%s: %s and %s: %d inits, %d responses, %d packets", c.name, pair[0].id, pair[1].id, inits, responses, packets)
			if c.all != (packets >= 2) || !c.all && packets != 0 || c.half != (responses > 0) {
				t.Errorf("%s: %d responses and %d packets of %s and %s are open", c.name, responses, packets, pair[0].id, pair[1].id)
			}
			if pair[0] == y && len(a.Privates) == 1 && inits != 0 {
				t.Errorf("%s: an init of y and z is open", c.name)
			}
		}
	}
}
