package handshake

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/flynn/noise"

	"github.com/meshsec/meshsec/ipsec"
)

// draws is how often a random number is drawn again because it is taken; a good source needs one or two.
const draws = 64

var errRandom = errors.New("random source: repeats itself")

// initiation is a handshake that this host began and that is not answered yet.
type initiation struct {
	noise       *noise.HandshakeState
	decapsulate func(ciphertext []byte) ([]byte, error)
	index       uint32
	spi         ipsec.SPI
	generation  uint64
	sent        time.Duration
}

// wipe erases what can be reached of the ephemeral secrets.
func (i *initiation) wipe() {
	clear(i.noise.LocalEphemeral().Private)
	i.noise, i.decapsulate = nil, nil
}

func (m *Machine) newNoise(initiator bool, peerStatic []byte) (*noise.HandshakeState, error) {
	c := noise.Config{
		CipherSuite: m.suite.noise, Random: m.rand, Pattern: noise.HandshakeIK, Initiator: initiator,
		Prologue: m.prologue, PresharedKey: m.ppks[0].Bytes[:], PresharedKeyPlacement: 2,
		StaticKeypair: m.static, PeerStatic: peerStatic,
	}
	return noise.NewHandshakeState(c)
}

// newInit makes an init to p at an address, with fresh ephemeral keys, index and SPI.
func (m *Machine) newInit(now time.Duration, p *peer, to netip.AddrPort) (*initiation, []byte, error) {
	hs, err := m.newNoise(true, p.Public[:])
	if err != nil {
		return nil, nil, fmt.Errorf("noise: %w", err)
	}
	decapsulate, kem, err := m.suite.generate(m.rand)
	if err != nil {
		return nil, nil, fmt.Errorf("ml-kem key: %w", err)
	}
	i := &initiation{noise: hs, decapsulate: decapsulate, generation: p.generation + 1, sent: now}
	if i.index, err = m.newIndex(); err != nil {
		return nil, nil, err
	}
	if i.spi, err = m.newSPI(0); err != nil {
		return nil, nil, err
	}
	payload := initPayload{
		generation: i.generation, spi: i.spi, kem: kem, ciphers: m.options.Ciphers,
		sender: m.id.HostID, receiver: p.HostID, target: to, ppks: m.ppkIDs(kem),
	}
	body, _, _, err := hs.WriteMessage(nil, payload.encode())
	if err != nil {
		m.releaseSPI(i.spi)
		return nil, nil, fmt.Errorf("noise: %w", err)
	}
	return i, body, nil
}

// answer makes the pair that an init asks for, and the body of the response. hs has read the init and has the PPK.
func (m *Machine) answer(now time.Duration, p *peer, hs *noise.HandshakeState, init initPayload, r responsePayload) (*pair, []byte, error) {
	secret, ciphertext, err := m.suite.encapsulate(init.kem)
	if err != nil {
		return nil, nil, fmt.Errorf("ml-kem: %w", err)
	}
	defer clear(secret)
	r.kem = ciphertext
	r.generation = max(init.generation, p.generation+1)
	if r.spi, err = m.newSPI(init.spi); err != nil {
		return nil, nil, err
	}
	body, c1, c2, err := hs.WriteMessage(nil, r.encode())
	if err != nil {
		m.releaseSPI(r.spi)
		return nil, nil, fmt.Errorf("noise: %w", err)
	}
	clear(hs.LocalEphemeral().Private)
	keys := newMaster(hs.ChannelBinding(), c1, c2, secret, p.HostID, m.id.HostID, r.cipher)
	pr, err := m.newPair(now, keys, init.spi, r.spi, false)
	if err != nil {
		m.releaseSPI(r.spi)
		return nil, nil, err
	}
	pr.rank = rank{r.generation, !p.smaller}
	pr.began, pr.inUntil, pr.target = now, now+pendingLife, init.target
	return pr, body, nil
}

// complete makes the pair from the response to i; the errors are those of a response that proves nothing.
func (m *Machine) complete(now time.Duration, p *peer, i *initiation, body []byte) (*pair, responsePayload, error) {
	var r responsePayload
	if len(body) < 32 {
		return nil, r, errPayload
	}
	// The library leaves its state half changed when the ephemeral key is of low order (RFC 7748, section 6.1), and a
	// real response would then be refused. So that is found out first.
	if _, err := m.suite.noise.DH(m.static.Private, body[:32]); err != nil {
		return nil, r, fmt.Errorf("ephemeral key: %w", err)
	}
	payload, c1, c2, err := m.readResponse(i.noise, body)
	if err != nil {
		return nil, r, fmt.Errorf("noise: %w", err)
	}
	if r, err = parseResponse(payload); err != nil {
		return nil, r, err
	}
	if r.generation < i.generation || !slices.Contains(m.options.Ciphers, r.cipher) {
		return nil, r, errPayload
	}
	secret, err := i.decapsulate(r.kem)
	if err != nil {
		return nil, r, fmt.Errorf("ml-kem: %w", err)
	}
	defer clear(secret)
	keys := newMaster(i.noise.ChannelBinding(), c1, c2, secret, m.id.HostID, p.HostID, r.cipher)
	pr, err := m.newPair(now, keys, i.spi, r.spi, true)
	if err != nil {
		return nil, r, err
	}
	pr.rank = rank{r.generation, p.smaller}
	pr.began, pr.made, pr.inUntil = i.sent, now, now+maxAge+2*oldGrace
	return pr, r, nil
}

// newPair derives both SAs. towardsInitiator and towardsResponder are the SPIs.
func (m *Machine) newPair(now time.Duration, keys *master, towardsInitiator, towardsResponder ipsec.SPI, begunHere bool) (*pair, error) {
	defer keys.wipe()
	forward, err := keys.key(fromInitiator, towardsResponder)
	if err != nil {
		return nil, err
	}
	back, err := keys.key(toInitiator, towardsInitiator)
	if err != nil {
		return nil, err
	}
	created := m.options.Start.Add(now)
	a := ipsec.SA{SPI: towardsResponder, Cipher: keys.cipher, Key: forward, Created: created}
	b := ipsec.SA{SPI: towardsInitiator, Cipher: keys.cipher, Key: back, Created: created}
	if begunHere {
		return &pair{in: b, out: a, begunHere: true}, nil
	}
	return &pair{in: a, out: b}, nil
}

// newSPI picks an SPI that no inbound SA of this host has, and that is not other: the data plane's events name one SPI
// for either direction.
func (m *Machine) newSPI(other ipsec.SPI) (ipsec.SPI, error) {
	for range draws {
		n, err := m.random32()
		if err != nil {
			return 0, err
		}
		spi := ipsec.SPI(n)
		if _, taken := m.spis[spi]; spi >= minSPI && spi != other && !taken {
			m.spis[spi] = struct{}{}
			return spi, nil
		}
	}
	return 0, errRandom
}

func (m *Machine) releaseSPI(spi ipsec.SPI) { delete(m.spis, spi) }

func (m *Machine) newIndex() (uint32, error) {
	for range draws {
		n, err := m.random32()
		if err != nil {
			return 0, err
		}
		if _, taken := m.inits[n]; n != 0 && !taken {
			return n, nil
		}
	}
	return 0, errRandom
}

func (m *Machine) random32() (uint32, error) {
	var b [4]byte
	if _, err := io.ReadFull(m.rand, b[:]); err != nil {
		return 0, fmt.Errorf("random source: %w", err)
	}
	return binary.BigEndian.Uint32(b[:]), nil
}
