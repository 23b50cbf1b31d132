package xfrm

import (
	"time"
)

const (
	// keepAdopted is how long SAs of an agent before this one are accepted once its successors' work in both directions:
	// what the peer has sealed with them is still on its way.
	keepAdopted = 30 * time.Second
	// keepOut is how long an outbound SA stays after the policy has turned to another: packets that were routed before
	// are still to be sealed.
	keepOut = 2 * time.Second
)

// past is what is known of SAs that the Config does not name (any more).
type past struct {
	own   map[stateKey]bool      // this process has installed them
	left  map[stateKey]time.Time // outbound ones: since when no policy wants them
	inner map[uint32][]stateKey  // by if_id, all that the kernel has
	now   time.Time
}

// wanted works out what the kernel should hold: pure, like the plan that follows. What an agent before this one has left
// for a peer stays in force until there is something in its place: the outbound SA until there is a new one, inbound
// ones until the new ones are known to work, and for a while more.
func wanted(peers []*peer, have world, mtu int, p past) world {
	want := newWorld()
	for _, e := range peers {
		if !e.carried {
			continue
		}
		want.Devices[e.dev] = device{Name: e.dev, IfID: e.ifID, MTU: mtu, Up: true, Strict: true}
		if !e.us.IsValid() {
			continue
		}
		for _, dir := range []direction{in, fwd} {
			want.Policies[policyKey{dir, e.ifID}] = policy{Src: unspecified(e.us), Dst: e.us}
		}
		for _, a := range append(e.in[:len(e.in):len(e.in)], e.out) {
			if a.usable() {
				want.States[a.key] = a.state
			}
		}
		outKey := policyKey{out, e.ifID}
		if e.out.usable() {
			want.Policies[outKey] = policy{Src: e.out.state.Src, Dst: e.out.key.Dst, SPI: e.out.key.SPI}
		} else if h := have.Policies[outKey]; e.adopts(h, have, p) {
			want.Policies[outKey] = h
		}
		for _, k := range p.inner[e.ifID] {
			if _, named := want.States[k]; !named && e.keeps(k, have.States[k], want.Policies[outKey], p) {
				want.States[k] = have.States[k]
			}
		}
	}
	return want
}

// adopts tells whether the outbound policy that is there may stay in force: with an SA of an earlier agent, to where the
// peer is.
func (e *peer) adopts(h policy, have world, p past) bool {
	k := stateKey{h.Dst, h.SPI}
	s, there := have.States[k]
	return there && !p.own[k] && s.Cipher != 0 && s.IfID == e.ifID && s.Src == h.Src && h.Dst == e.Remote.Addr().Unmap() && e.speaks(s.DstPort)
}

// speaks tells whether that is the peer's port, or none where it takes none.
func (e *peer) speaks(port uint16) bool { return port == 0 || port == e.Remote.Port() }

// keeps tells whether an SA that the Config does not name stays for now.
func (e *peer) keeps(k stateKey, s state, sealing policy, p past) bool {
	if s.Cipher == 0 || s.IfID != e.ifID {
		return false
	}
	if k.Dst != e.us { // outbound
		if sealing.Dst == k.Dst && sealing.SPI == k.SPI {
			return true
		}
		since, ok := p.left[k]
		return sealing.SPI != 0 && (!ok || p.now.Sub(since) < keepOut)
	}
	// Of its own inbound SAs the handshake knows best.
	if p.own[k] || s.Src != e.Remote.Addr().Unmap() || !e.speaks(s.SrcPort) {
		return false
	}
	return e.proven.IsZero() || p.now.Sub(e.proven) < keepAdopted
}
