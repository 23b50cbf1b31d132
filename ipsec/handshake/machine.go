package handshake

import (
	"io"
	"math"
	"net/netip"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// never is later than every deadline.
const never = time.Duration(math.MaxInt64)

// maxDatagram is the largest datagram that is sent or accepted, in bytes without the non-ESP marker. With marker, UDP and
// IPv6 headers it fits the smallest IPv6 MTU of 1280.
const maxDatagram = 1200

// Machine is the key exchange between this host and its peers, without I/O and without a clock: every method takes the
// time since the machine was made (monotonic, never going back) and returns what is to be done, in order. Equal calls
// with equal random bytes give equal results, but for the ML-KEM ciphertext, whose randomness is the standard library's.
//
// A Machine is not safe for concurrent use; Loop is.
type Machine struct {
	id      Identity
	rand    io.Reader
	options Options
	drops   map[string]uint64
}

// NewMachine returns a Machine without peers. random must be cryptographically secure.
func NewMachine(id Identity, random io.Reader, o Options) (*Machine, error) {
	if err := id.Validate(); err != nil {
		return nil, err
	}
	return &Machine{id: id, rand: random, options: o, drops: make(map[string]uint64)}, nil
}

// SetPeers replaces the peers.
func (m *Machine) SetPeers(now time.Duration, peers []Peer) []Output { return nil }

// Receive takes one datagram without its non-ESP marker.
func (m *Machine) Receive(now time.Duration, from netip.AddrPort, msg []byte) []Output { return nil }

// Tick does what is due, and returns when it must be called next at the latest (a time as now is).
func (m *Machine) Tick(now time.Duration) (outputs []Output, next time.Duration) { return nil, never }

// Event takes what the data plane has seen.
func (m *Machine) Event(now time.Duration, e ipsec.Event) []Output { return nil }

// SAs returns what the data plane must carry, by host ID.
func (m *Machine) SAs() map[string]ipsec.SASet { return nil }

// Status returns the peers, sorted by host ID.
func (m *Machine) Status(now time.Duration) []PeerStatus { return nil }

// Drops counts the messages that were dropped, by reason.
func (m *Machine) Drops() map[string]uint64 { return nil }
