package xfrm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
)

// peer is a peer of the Config with what it has in the kernel.
type peer struct {
	*ipsec.Peer
	dev     string
	ifID    uint32 // 0: it has no device yet, and none is to be made now
	us      netip.Addr
	in      []*association
	out     *association
	carried bool      // its device is there or is to be made now
	proven  time.Time // when the SAs of this process were first known to work in both directions
}

// deviceName gives the name of a peer's device: the prefix and the first eight hexadecimal digits of its host ID, which is
// what people look for, or of the ID's hash.
func deviceName(host string, hashed bool) string {
	if !hashed && len(host) >= 8 && strings.Trim(host[:8], "0123456789abcdef") == "" {
		return link.TunnelPrefix + host[:8]
	}
	sum := sha256.Sum256([]byte(host))
	return link.TunnelPrefix + hex.EncodeToString(sum[:4])
}

// us is this host's address towards an address, and whether there is one of its family.
func (p *Plane) us(remote netip.Addr) (netip.Addr, bool) {
	for _, a := range p.addrs {
		if a.Is4() == remote.Is4() {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// trouble is an error that concerns one peer.
type trouble struct {
	host string
	err  error
}

// resolve makes the peers of the config, with the associations that are known already.
func (p *Plane) resolve(now time.Time) (troubles []trouble) {
	fail := func(host, format string, args ...any) {
		troubles = append(troubles, trouble{host, fmt.Errorf(format, args...)})
	}
	names := map[string]string{}
	p.rounds++
	p.memory.peers = make([]*peer, 0, len(p.config.Peers))
	for i := range p.config.Peers {
		c := &p.config.Peers[i]
		e := &peer{Peer: c, dev: deviceName(c.Name, false)}
		if names[e.dev] != "" {
			e.dev = deviceName(c.Name, true)
		}
		if other := names[e.dev]; other != "" {
			fail(c.Name, "its device would be called %s as that of peer %s", e.dev, other)
			continue
		}
		names[e.dev] = c.Name
		p.memory.peers = append(p.memory.peers, e)
		us, ok := p.us(c.Remote.Addr().Unmap())
		if !c.Remote.IsValid() || !ok {
			fail(c.Name, "this host has no underlay address to reach %s from", c.Remote)
			continue
		}
		e.us = us
		for j := range c.In {
			if a, err := p.associate(e, &c.In[j], false, now); err != nil {
				fail(c.Name, "inbound SA %s: %w", c.In[j].SPI, err)
			} else {
				e.in = append(e.in, a)
			}
		}
		if c.Out != nil {
			a, err := p.associate(e, c.Out, true, now)
			if err != nil {
				fail(c.Name, "outbound SA %s: %w", c.Out.SPI, err)
			}
			e.out = a
		}
	}
	for f, a := range p.associations {
		if now.Sub(a.seen) > keepSpent {
			delete(p.associations, f)
		}
	}
	return troubles
}

// reservedSPI is the last of the SPIs that must not be used (RFC 4303, section 2.1).
const reservedSPI = 255

// associate finds or makes the association of an SA.
func (p *Plane) associate(e *peer, sa *ipsec.SA, out bool, now time.Time) (*association, error) {
	if sa.SPI <= reservedSPI {
		return nil, fmt.Errorf("the SPI is reserved")
	}
	if algorithms[sa.Cipher] == "" {
		return nil, fmt.Errorf("unknown %s", sa.Cipher)
	}
	f := fingerprintOf(out, &sa.Key)
	a := p.associations[f]
	switch {
	case a == nil:
		k, s := e.wants(sa, out, p.port, p.life)
		a = &association{peer: e.Name, out: out, key: k, state: s}
		p.associations[f] = a
	case a.peer != e.Name || a.key.SPI != sa.SPI:
		return nil, fmt.Errorf("its key belongs to SA %s", a.key.SPI)
	case a.round == p.rounds:
		return nil, fmt.Errorf("it is there twice")
	}
	a.secret, a.seen, a.round = &sa.Key, now, p.rounds
	return a, nil
}

// wants is what the kernel is to have for an SA that is installed now.
func (e *peer) wants(sa *ipsec.SA, out bool, port uint16, life lifetime) (stateKey, state) {
	remote := e.Remote.Addr().Unmap()
	k, s := stateKey{e.us, sa.SPI}, state{Src: remote, IfID: e.ifID, Cipher: sa.Cipher, Window: inWindow, Life: life.of(sa.SPI, out)}
	local, other := port, e.Remote.Port()
	if out {
		k.Dst, s.Src, s.Window = remote, e.us, outWindow
		local, other = other, local
	}
	if e.Encap != ipsec.EncapESP {
		s.SrcPort, s.DstPort = other, local
	}
	return k, s
}
