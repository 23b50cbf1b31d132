package handshake

import "net/netip"

// Output is something that the Machine wants done: Send, SAsChanged, Probe, Keepalive or NeedSnapshot. Outputs are carried out in
// the order in which they are returned.
type Output interface{ output() }

// Send asks for one datagram. Msg is without the non-ESP marker (RFC 3948, section 2.2), which the socket puts in front.
type Send struct {
	To  netip.AddrPort
	Msg []byte
}

// SAsChanged says that Machine.SAs has changed for Peer (a host ID). The data plane must carry them before the Sends that
// follow: the answer to an init promises that its sender's packets can be opened.
type SAsChanged struct{ Peer string }

// Probe asks for one ICMP echo request through the tunnel to the router address of Peer (a host ID).
type Probe struct{ Peer string }

// Keepalive asks for one NAT keepalive (RFC 3948, section 2.3) to an address.
type Keepalive struct{ To netip.AddrPort }

// NeedSnapshot says that a host with an unknown key began a handshake: the facts may be old and should be listed again.
type NeedSnapshot struct{}

func (Send) output()         {}
func (SAsChanged) output()   {}
func (Probe) output()        {}
func (Keepalive) output()    {}
func (NeedSnapshot) output() {}
