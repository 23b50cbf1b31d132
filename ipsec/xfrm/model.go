package xfrm

import (
	"cmp"
	"net/netip"

	"github.com/meshsec/meshsec/ipsec"
)

// The kernel's objects, as far as the plan needs them. Values are comparable, but for a key's bytes, which the kernel's
// list does not need to agree about: an SPI of ours is never used for two keys.

// device is a peer's xfrm interface, in the router's namespace.
type device struct {
	Name string
	IfID uint32
	MTU  int
	Up   bool
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
	Cipher           ipsec.Cipher
	SrcPort, DstPort uint16 // of the UDP encapsulation; zero for protocol 50
}

// policyKey is what identifies a policy of ours: its selector is always everything.
type policyKey struct {
	Dir  direction
	IfID uint32
}

func (a policyKey) compare(b policyKey) int {
	return cmp.Or(cmp.Compare(a.IfID, b.IfID), cmp.Compare(a.Dir, b.Dir))
}

// policy is its template. SPI is zero but for direction out, where it selects the one SA that is sealed with.
type policy struct {
	Src, Dst netip.Addr
	SPI      ipsec.SPI
}

// world is what the kernel holds of ours, or what it should hold.
type world struct {
	Devices  map[string]device // by name
	States   map[stateKey]state
	Policies map[policyKey]policy
}

func newWorld() world {
	return world{Devices: map[string]device{}, States: map[stateKey]state{}, Policies: map[policyKey]policy{}}
}
