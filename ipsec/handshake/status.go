package handshake

import (
	"net/netip"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// State is where a peer's handshake stands.
type State string

const (
	// StateWaiting: nothing can be begun; a fact of the peer is missing.
	StateWaiting State = "waiting"
	// StateStarting: a handshake is under way, there is no SA to send on yet.
	StateStarting State = "starting"
	// StateProving: there are SAs, but nothing has come in on them yet.
	StateProving State = "proving"
	// StateUp: packets have come in on the SA pair in use.
	StateUp State = "up"
)

// PeerStatus is what the Machine knows about one peer, for display.
type PeerStatus struct {
	HostID string         `json:"host_id"`
	Remote netip.AddrPort `json:"remote"`
	State  State          `json:"state"`
	// Reason says in plain words why the peer is not up; empty when it is and no handshake is overdue.
	Reason string `json:"reason,omitempty"`
	// LastHandshake is when the SA pair in use was made; zero without one.
	LastHandshake time.Time `json:"last_handshake,omitzero"`
	// Attempts counts the inits sent since the last success.
	Attempts int `json:"attempts"`
	// Observed is this host's address and port as the peer has seen them in the last handshake that it answered.
	Observed netip.AddrPort `json:"observed,omitzero"`
	Cipher   ipsec.Cipher   `json:"cipher,omitempty"`
	// In and Out are the SPIs in use; zero without.
	In  ipsec.SPI `json:"in,omitempty"`
	Out ipsec.SPI `json:"out,omitempty"`
	// Inbound is how many inbound SAs are kept: the one in use, old ones in their grace, and unproven ones.
	Inbound int `json:"inbound"`
}
