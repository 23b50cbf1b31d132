package handshake

import (
	"bytes"
	"cmp"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/flynn/noise"

	"github.com/meshsec/meshsec/ipsec"
)

// never is later than every deadline.
const never = time.Duration(math.MaxInt64)

// maxDatagram is the largest datagram that is sent or accepted, in bytes without the non-ESP marker. With marker, UDP and
// IPv6 headers it fits the smallest IPv6 MTU of 1280.
const maxDatagram = 1200

// Machine is the key exchange between this host and its peers, without I/O and without a clock: every method takes the
// time since the machine was made (monotonic, never going back) and returns what is to be done, in order. Tick must be
// called after every other method, and at the time that it returned. Equal calls with equal random bytes give equal
// results, but for the ML-KEM ciphertext, whose randomness is the standard library's own.
//
// A Machine is not safe for concurrent use; Loop is.
type Machine struct {
	id       Identity
	static   noise.DHKey
	ppks     []Secret // one at least; the zero one: none
	rand     io.Reader
	options  Options
	suite    suite
	prologue []byte
	mac      hash.Hash // of messages to this host

	peers   map[string]*peer // by host ID
	remotes map[netip.AddrPort]*peer
	inits   map[uint32]*peer // handshakes that this host began, by index
	spis    map[ipsec.SPI]struct{}
	seen    seen
	gate    gate
	cookies cipher.AEAD // seals this host's cookies
	parts   reassembly
	drops   map[string]uint64

	snapshotAt time.Duration // before this, unknown keys ask for no snapshot
}

// Format implements fmt.Formatter: a Machine holds keys, so it is never printed.
func (Machine) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(handshake machine)") }

// NewMachine returns a Machine without peers. random must be cryptographically secure. Errors are those of id.
func NewMachine(id Identity, random io.Reader, o Options) (*Machine, error) {
	return newMachine(id, random, o, standardSuite())
}

func newMachine(id Identity, random io.Reader, o Options, s suite) (*Machine, error) {
	if err := id.Validate(); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	if len(o.Ciphers) == 0 {
		o.Ciphers = []ipsec.Cipher{ipsec.AES256GCM, ipsec.ChaCha20Poly1305}
	}
	if len(o.Ciphers) > maxCiphers {
		return nil, fmt.Errorf("options: %d ciphers, allowed are %d", len(o.Ciphers), maxCiphers)
	}
	static, err := s.noise.GenerateKeypair(bytes.NewReader(id.Private.Bytes[:]))
	if err != nil {
		return nil, fmt.Errorf("identity: private key: %w", err)
	}
	cookies, err := cookieCipher(static.Public)
	if err != nil {
		return nil, fmt.Errorf("cookies: %w", err)
	}
	return &Machine{
		id: id, static: static, ppks: ppks(id), rand: random, options: o, suite: s,
		prologue: prologue(id.Environment),
		mac:      hmac.New(sha256.New, macKey(static.Public)),
		peers:    make(map[string]*peer),
		remotes:  make(map[netip.AddrPort]*peer),
		inits:    make(map[uint32]*peer),
		spis:     make(map[ipsec.SPI]struct{}),
		seen:     newSeen(),
		gate:     newGate(random),
		cookies:  cookies,
		parts:    newReassembly(),
		drops:    make(map[string]uint64),
	}, nil
}

// SetPeers replaces the peers. Peers that stay keep their SAs; those that are gone, or have another key, lose them at once.
// A peer with this host's own ID is ignored.
func (m *Machine) SetPeers(now time.Duration, peers []Peer) (outputs []Output) {
	want := make(map[string]Peer, len(peers))
	for _, p := range peers {
		p.Remote = unmap(p.Remote)
		p.Addrs, p.Seen = unmapAll(p.Addrs), unmapAll(p.Seen)
		want[p.HostID] = p
	}
	delete(want, m.id.HostID)
	for _, id := range slices.Sorted(maps.Keys(m.peers)) {
		old, w := m.peers[id], want[id]
		if _, ok := want[id]; ok && w.Public == old.Public {
			m.search(now, old, w)
			if w.Remote != old.Remote {
				if old.at.IsValid() {
					outputs = append(outputs, SAsChanged{id})
				}
				old.Remote, old.at = w.Remote, netip.AddrPort{}
				if old.out == nil {
					m.start(now, old)
				} else { // it may have been restarted, and not find this host by itself
					old.startAt = min(old.startAt, now+m.turn(old))
				}
			}
			continue
		}
		if m.remove(old) {
			outputs = append(outputs, SAsChanged{id})
		}
	}
	for id, w := range want {
		if m.peers[id] == nil {
			m.peers[id] = &peer{Peer: w, smaller: m.id.HostID < id, startAt: now, probeAt: never, keepAt: never}
		}
	}
	m.locate()
	return outputs
}

// start makes a handshake due at once, with the back-off at its beginning.
func (m *Machine) start(now time.Duration, p *peer) {
	m.cancel(p)
	p.attempts, p.startAt = 0, now
}

// remove erases everything about p and says whether it had SAs.
func (m *Machine) remove(p *peer) bool {
	m.cancel(p)
	p.out = nil
	had := len(p.pairs) > 0
	m.wipe(p.pairs)
	p.pairs = nil
	delete(m.peers, p.HostID)
	return had
}

// cancel gives up the outstanding handshake: its response will not be accepted.
func (m *Machine) cancel(p *peer) {
	if p.init == nil {
		return
	}
	delete(m.inits, p.init.index)
	m.releaseSPI(p.init.spi)
	p.init.wipe()
	p.init = nil
}

// wipe erases the keys of pairs that are no longer listed and frees their SPIs.
func (m *Machine) wipe(pairs []*pair) {
	for _, q := range pairs {
		q.silence()
		q.deafen()
		m.releaseSPI(q.in.SPI)
	}
}

func (m *Machine) sorted() []*peer {
	return slices.SortedFunc(maps.Values(m.peers), func(a, b *peer) int { return cmp.Compare(a.HostID, b.HostID) })
}

// SAs returns what the data plane must carry, by host ID. The caller owns the result.
func (m *Machine) SAs() map[string]ipsec.SASet {
	all := make(map[string]ipsec.SASet, len(m.peers))
	for id, p := range m.peers {
		if len(p.pairs) > 0 { // without an SA its address is of no use
			all[id] = p.sas()
		}
	}
	return all
}

// Drops counts the messages that were dropped, by reason. The caller owns the result.
func (m *Machine) Drops() map[string]uint64 { return maps.Clone(m.drops) }
