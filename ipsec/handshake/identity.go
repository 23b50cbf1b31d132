package handshake

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// maxHostID is the longest host ID in bytes; its length goes over the wire in one byte, and two of them must leave an
// init within two datagrams.
const maxHostID = 128

// Identity is what this host is to its peers.
type Identity struct {
	// HostID is 1 to 128 bytes, unique in the environment.
	HostID string
	// Environment must be the same on both hosts; it is bound into every handshake.
	Environment string
	// Private is this host's X25519 private key.
	Private Secret
	// PPKs are pre-shared keys in the sense of RFC 8784, the preferred one first: two hosts meet with one that both have,
	// which goes into every key. The zero Secret stands for none. Empty: only with hosts that accept none.
	PPKs []Secret
}

// Validate says what is wrong with the identity.
func (id Identity) Validate() error {
	var errs []error
	if n := len(id.HostID); n < 1 || n > maxHostID {
		errs = append(errs, fmt.Errorf("host ID has %d bytes, allowed are 1 to %d", n, maxHostID))
	}
	if id.Environment == "" {
		errs = append(errs, errors.New("environment is empty"))
	}
	if id.Private.Bytes == [32]byte{} {
		errs = append(errs, errors.New("private key is missing"))
	}
	if n := len(id.PPKs); n > maxPPKs {
		errs = append(errs, fmt.Errorf("%d pre-shared keys, allowed are %d", n, maxPPKs))
	}
	return errors.Join(errs...)
}

// Peer is another host as the facts describe it.
type Peer struct {
	HostID string
	// Public is the peer's X25519 public key; zero while it is unknown, then no handshake is begun.
	Public [32]byte
	// Remote is where the peer is as long as nothing has come from it; invalid while it is unknown.
	Remote netip.AddrPort
	// Addrs are its own addresses, best first; empty: only Remote. Inits that are not answered go in turn to where it was seen
	// last, to Seen and to Addrs.
	Addrs []netip.AddrPort
	// Seen are the addresses at which other hosts see it, because it is behind a NAT; best first.
	Seen []netip.AddrPort
	// Near says that both hosts are behind one NAT: Addrs are tried first.
	Near bool
}

// Options are what may differ between hosts of one environment. The zero value is good for use.
type Options struct {
	// Ciphers in order of preference; empty: AES-256-GCM, then ChaCha20-Poly1305. A host without AES instructions
	// puts ChaCha20-Poly1305 first, which then wins on both sides.
	Ciphers []ipsec.Cipher
	// Local are this host's own underlay addresses with the port. A peer that sees none of them sees a NAT, through which
	// a keepalive goes every 20 s; empty: none ever.
	Local []netip.AddrPort
	// Start is the wall-clock time at which now is zero. It is only shown (SA.Created, PeerStatus), never compared.
	Start time.Time
}
