package xfrm

import (
	"cmp"
	"net/netip"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
)

// The kernel's objects, as far as the plan needs them. Values are comparable; keys are not among them: an SPI of ours is
// never used for two keys.

// device is a peer's xfrm interface. Only those in the router's namespace that belong to the host's count as such.
type device struct {
	Name   string
	IfID   uint32 // 0: it has settings that none of ours has
	MTU    int
	Up     bool
	Strict bool // reverse-path filter
}

// direction of a policy (include/uapi/linux/xfrm.h, XFRM_POLICY_IN, …).
type direction uint8

const (
	in direction = iota
	out
	fwd
)

// stateKey is what identifies an SA in the kernel's SAD (RFC 4301, section 4.4.2.1); the protocol is always ESP.
type stateKey struct {
	Dst netip.Addr
	SPI ipsec.SPI
}

// compare orders keys, so that equal inputs give equal plans.
func (a stateKey) compare(b stateKey) int {
	return cmp.Or(a.Dst.Compare(b.Dst), cmp.Compare(a.SPI, b.SPI))
}

// state is an SA in tunnel mode with ESN.
type state struct {
	Src              netip.Addr
	IfID             uint32
	Cipher           ipsec.Cipher // 0: it has settings that none of ours has
	SrcPort, DstPort uint16       // of the UDP encapsulation; zero for protocol 50
	Window           uint32       // replay window, packets
	Life             lifetime
}

// Replay windows, in packets: the largest that the kernel takes (XFRMA_REPLAY_ESN_MAX), and the smallest for outbound
// SAs, which have no use for one but must have it for ESN.
const (
	inWindow  = 4096
	outWindow = 32
)

// policyKey is what identifies a policy of ours: its selector is always everything.
type policyKey struct {
	Dir  direction
	IfID uint32
}

func (a policyKey) compare(b policyKey) int {
	return cmp.Or(cmp.Compare(a.IfID, b.IfID), cmp.Compare(a.Dir, b.Dir))
}

// policy is its template. SPI is zero but for direction out, where it selects the one SA that is sealed with. Src is
// unspecified but for direction out: what a peer may send is not a matter of where its packets come from.
type policy struct {
	Src, Dst netip.Addr // invalid: it has settings that none of ours has
	SPI      ipsec.SPI
}

// world is what the kernel holds of ours, or what it should hold.
type world struct {
	Devices  map[string]device // by name
	Strays   map[string]device // left in the host's namespace by a crash between making and moving; never wanted
	States   map[stateKey]state
	Policies map[policyKey]policy
}

func newWorld() world {
	return world{Devices: map[string]device{}, Strays: map[string]device{}, States: map[stateKey]state{}, Policies: map[policyKey]policy{}}
}

// counter is what the kernel has counted for an SA.
type counter struct {
	Bytes, Packets   uint64 // inner, sealed or opened
	Old, Replay, ICV uint32 // not accepted: before the window, seen before, not authentic
}

// inventory is the world as the kernel lists it, and what is found on the way.
type inventory struct {
	world
	counters map[stateKey]counter
	unsealed map[string]uint64 // by device: packets that were routed into it when there was nothing to seal them with
	foreign  map[uint32]string // if_ids of our range that others use, and for what
}

// inRange tells whether an if_id bears our mark.
func inRange(ifID uint32) bool { return ifID&^0xffff == link.IfIDBase }

// unspecified is the unspecified address of the same family.
func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
