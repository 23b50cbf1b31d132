// Package ipsec holds the words that the handshake, the data planes and the mesh share: SPI, Key, SA, Peer, Config
// and the Dataplane interface. It does no I/O and knows no data plane's implementation.
//
// Values go into a data plane, not verbs: Set is handed everything that this host must carry, and the plane works out
// by itself what to change and in which order.
package ipsec

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// SPI is a security parameters index (RFC 4303, section 2.1), chosen by the receiver of an SA. 0 to 255 are reserved.
type SPI uint32

// String gives the SPI as iproute2 prints it.
func (s SPI) String() string { return fmt.Sprintf("0x%08x", uint32(s)) }

// Cipher is an AEAD transform for ESP. Values are the transform IDs of the IKEv2 registry, which also go over the wire.
type Cipher uint16

// The ciphers that both data planes speak, each with a 256-bit key, a 32-bit salt and a 16-byte tag.
const (
	// AES256GCM is AES-GCM with a 16-octet ICV (RFC 4106).
	AES256GCM Cipher = 20
	// ChaCha20Poly1305 is the transform of RFC 7634.
	ChaCha20Poly1305 Cipher = 28
)

// String gives the cipher's name as `meshsec peers` prints it.
func (c Cipher) String() string {
	switch c {
	case AES256GCM:
		return "aes-256-gcm"
	case ChaCha20Poly1305:
		return "chacha20-poly1305"
	}
	return fmt.Sprintf("cipher(%d)", uint16(c))
}

// Encap is how ESP crosses the underlay.
type Encap string

const (
	// EncapUDP is ESP in UDP (RFC 3948).
	EncapUDP Encap = "udp"
	// EncapESP is IP protocol 50 (RFC 4303).
	EncapESP Encap = "esp"
)

// SA is one direction of a security association (RFC 4301, section 4.1), in tunnel mode with extended sequence numbers.
type SA struct {
	SPI    SPI
	Cipher Cipher
	Key    Key
	// Created is when the handshake made the keys, for display and for the age limit.
	Created time.Time
}

// Peer is another host, seen from this one.
type Peer struct {
	// Name is the peer's host ID. It is the identity of a Peer within a Config.
	Name string
	// Remote is where the peer's ESP is sent: its underlay address and UDP port.
	Remote netip.AddrPort
	Encap  Encap
	// Router is the peer's router address; Prefixes contains it as a /32, too.
	Router netip.Addr
	// MTU is that of the peer's routes, in bytes; 0: that of the Config, which it never exceeds.
	MTU int
	// Prefixes are the inner addresses that are reached through the peer, and the only sources accepted from it. Sorted.
	// No two peers of a Config have the same: the planes' routes by prefix rely on it.
	Prefixes []netip.Prefix
	// In are the SAs on which packets of this peer are accepted, newest first. Sequence numbers and replay windows of
	// an SA that stays in the list from one Config to the next are carried over.
	In []SA
	// Out is the SA that packets to this peer are sealed with; nil when there is none (packets are then dropped and counted).
	Out *SA
}

// Config is everything that a data plane must carry. Equal Configs mean no work.
type Config struct {
	// Router is this host's router address, the preferred source of every tunnel route.
	Router netip.Addr
	// MTU is the inner MTU of the tunnel devices, and of the routes of peers that have none of their own, in bytes.
	MTU int
	// Peers, sorted by Name.
	Peers []Peer
}

// RouteMTU is the MTU of the peer's routes.
func (c Config) RouteMTU(p *Peer) int {
	if p.MTU > 0 {
		return min(p.MTU, c.MTU)
	}
	return c.MTU
}

// PeerStats is what a data plane has counted for one peer. Counters start at zero when the agent starts.
type PeerStats struct {
	Name               string
	RxBytes, RxPackets uint64 // inner bytes and packets
	TxBytes, TxPackets uint64
	LastRx             time.Time // last packet that was opened
	// Drops counts dropped packets by reason; the reasons are those of Drops.
	Drops map[string]uint64
}

// Stats is what a data plane has counted.
type Stats struct {
	Peers []PeerStats // sorted by Name
	// Drops counts packets that belong to no peer, by reason: "unknown-spi", "short", "no-route", …
	Drops map[string]uint64
}

// EventKind says what an Event reports.
type EventKind int

const (
	// SPIConfirmed: the first packet was opened on inbound SA SPI.
	SPIConfirmed EventKind = iota + 1
	// SPILimit: the SA SPI (either direction) has reached its packet limit and is no longer used.
	SPILimit
	// UnknownSPI: ESP came in from Remote with an SPI that is not in the Config.
	UnknownSPI
	// SPISoftLimit: the SA SPI (either direction) has carried SoftPackets or SoftBytes. It is still used; a new pair is due.
	SPISoftLimit
	// PeerMoved: an authentic packet of Peer came in on SA SPI from Remote, which is not where the Config has the peer. Sent
	// again while such packets come.
	PeerMoved
	// PeerSilent: nothing has come from Peer for a while, though it was asked to answer. Not of a data plane, but of whoever
	// probes the tunnels.
	PeerSilent
)

// How much an SA carries before it is replaced. Until SPILimit there is as much again, for the new pair to be made.
const (
	SoftPackets = 1 << 31
	SoftBytes   = 1 << 37 // of sealed packets, from their SPI to their ICV; the kernel counts the inner ones, about 36 less each
)

// Event is something a data plane has seen.
type Event struct {
	Kind   EventKind
	Peer   string // host ID; empty for UnknownSPI
	SPI    SPI
	Remote netip.AddrPort
}

// Dataplane carries packets between the router namespace and the underlay. Implementations: ipsec/tun and ipsec/xfrm.
type Dataplane interface {
	// Set makes the data plane carry exactly c. It reads back what is there, repairs the difference, goes on after a
	// failing item and returns all failures joined; the next Set completes what this one could not. Set with an
	// equal Config is no work but the read-back. Calls are serialised by the implementation.
	//
	// A Config that differs from the one before (not Equal), which succeeded, may cost the plane the difference alone: what others have changed
	// meanwhile is seen by the next Set with an equal one.
	//
	// A Config that differs from the one before in SAs alone (EqualButSAs) comes from a handshake, which waits for it: the
	// plane may leave all that is not SAs unread, and does not fail because of it.
	Set(ctx context.Context, c Config) error
	// Stats may be called at any time, concurrently with everything.
	Stats() (Stats, error)
	// Events never blocks the data path: events are dropped when nobody reads. Closed by Close.
	Events() <-chan Event
	// Close stops carrying packets for this process; what must outlive the agent (links, routes) stays.
	Close() error
}

// SASet is what the handshake holds for one peer.
type SASet struct {
	In  []SA // newest first
	Out *SA
	// Remote is where the peer's last authentic packet came from. Invalid: nothing is known but its fact.
	Remote netip.AddrPort
}
