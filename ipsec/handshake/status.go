package handshake

import (
	"fmt"
	"net/netip"
	"strings"
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
	HostID string `json:"host_id"`
	// Remote is where the peer's last authentic packet came from, or else what its fact says.
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

// Status returns the peers, sorted by host ID.
func (m *Machine) Status() []PeerStatus {
	all := make([]PeerStatus, 0, len(m.peers))
	for _, p := range m.sorted() {
		all = append(all, m.status(p))
	}
	return all
}

func (m *Machine) status(p *peer) PeerStatus {
	s := PeerStatus{HostID: p.HostID, Remote: p.remote(), Attempts: p.attempts, Observed: p.observed, Inbound: len(p.sas().In)}
	if p.out != nil {
		s.LastHandshake = p.out.out.Created
		s.Cipher, s.In, s.Out = p.out.out.Cipher, p.out.in.SPI, p.out.out.SPI
	}
	s.State, s.Reason = p.explain(m.addresses(p))
	if s.Reason != "" && p.note != "" {
		s.Reason += "; " + p.note
	}
	return s
}

// explain says where the peer stands and, unless all is well, why. tried are its addresses.
func (p *peer) explain(tried []netip.AddrPort) (State, string) {
	switch {
	case p.out != nil && p.out.confirmed:
		if p.attempts > 1 {
			return StateUp, fmt.Sprintf("rekeying: no answer from %v in %d attempts", p.remote(), p.attempts)
		}
		return StateUp, ""
	case p.Public == [32]byte{}:
		return StateWaiting, "peer's key unknown yet"
	case !p.remote().IsValid():
		return StateWaiting, "peer's address unknown yet"
	case p.out != nil && p.attempts > 0:
		return StateProving, fmt.Sprintf("waiting for proof: nothing has come in on SA %v; a new handshake is under way", p.out.in.SPI)
	case p.out != nil:
		return StateProving, fmt.Sprintf("waiting for proof: nothing has come in on SA %v yet", p.out.in.SPI)
	case len(p.pairs) > 0 && p.pairs[0].pending():
		return StateStarting, fmt.Sprintf("waiting for proof: answered its init, nothing has come in on SA %v yet", p.pairs[0].in.SPI)
	case p.attempts == 0:
		return StateStarting, "handshake not begun yet"
	case p.attempts == 1:
		return StateStarting, fmt.Sprintf("waiting for the first answer from %v", p.remote())
	}
	list := make([]string, len(tried))
	for i, a := range tried {
		list[i] = a.String()
	}
	return StateStarting, fmt.Sprintf("no answer from %s in %d attempts", strings.Join(list, ", "), p.attempts)
}
