package xfrm

import (
	"fmt"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
)

// verb is what a step does.
type verb uint8

const (
	addDevice verb = iota // makes it, moves it into the router, sets it up
	setDevice             // MTU, reverse-path filter, up
	delDevice
	delStray // a device in the host's namespace
	addState
	delState
	setPolicy // adds or replaces
	delPolicy
	setRoutes // hands all tunnel routes to the router: those of new devices come, those of gone peers go
)

// ofXfrm tells whether the step is a message to the kernel's IPsec, which can be sent with others.
func (v verb) ofXfrm() bool {
	switch v {
	case addState, delState, setPolicy, delPolicy:
		return true
	}
	return false
}

// step is one change of the kernel. Which fields count depends on Verb.
type step struct {
	Verb     verb
	Device   device
	StateKey stateKey
	State    state
	Key      policyKey
	Policy   policy
}

// message encodes a step of IPsec.
func (s step) message(key func(stateKey) *ipsec.Key) link.Message {
	switch s.Verb {
	case addState:
		return s.State.add(s.StateKey, key(s.StateKey))
	case delState:
		return s.StateKey.del()
	case setPolicy:
		return s.Policy.set(s.Key)
	default:
		return s.Key.del()
	}
}

// ifID is the if_id that the step is about; 0 for setRoutes.
func (s step) ifID() uint32 {
	switch s.Verb {
	case addDevice, setDevice, delDevice, delStray:
		return s.Device.IfID
	case addState, delState:
		return s.State.IfID
	}
	return s.Key.IfID
}

// String tells a step in the words of ip(8).
func (s step) String() string {
	switch s.Verb {
	case addDevice:
		return fmt.Sprintf("link add %s type xfrm if_id %#x mtu %d up", s.Device.Name, s.Device.IfID, s.Device.MTU)
	case setDevice:
		return fmt.Sprintf("link set %s mtu %d up", s.Device.Name, s.Device.MTU)
	case delDevice:
		return fmt.Sprintf("link del %s", s.Device.Name)
	case delStray:
		return fmt.Sprintf("link del %s in the host's namespace", s.Device.Name)
	case addState:
		encap := ""
		if s.State.SrcPort != 0 {
			encap = fmt.Sprintf(" encap espinudp %d %d", s.State.SrcPort, s.State.DstPort)
		}
		return fmt.Sprintf("xfrm state add src %s dst %s spi %s if_id %#x %s%s", s.State.Src, s.StateKey.Dst, s.StateKey.SPI, s.State.IfID, s.State.Cipher, encap)
	case delState:
		return fmt.Sprintf("xfrm state delete dst %s spi %s", s.StateKey.Dst, s.StateKey.SPI)
	case setPolicy:
		spi := ""
		if s.Policy.SPI != 0 {
			spi = " spi " + s.Policy.SPI.String()
		}
		return fmt.Sprintf("xfrm policy update dir %s if_id %#x tmpl src %s dst %s%s", s.Key.Dir, s.Key.IfID, s.Policy.Src, s.Policy.Dst, spi)
	case delPolicy:
		return fmt.Sprintf("xfrm policy delete dir %s if_id %#x", s.Key.Dir, s.Key.IfID)
	case setRoutes:
		return "route replace all"
	}
	return "?"
}

// String is the direction's name in ip(8).
func (d direction) String() string { return [...]string{"in", "out", "fwd"}[d] }
