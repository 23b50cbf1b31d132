package main

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// natT is the UDP port of handshake and ESP (RFC 3948), vxlan that of RFC 7348.
const natT, vxlan = 4500, 4789

// attacks make an IPv4 packet against a host: nil if there is nothing to make it of yet. The attacker's lock is held.
var attacks = map[string]func(a *attacker, to int) []byte{
	"plaintext": func(a *attacker, to int) []byte { return a.inner(to) },
	"plaintext in IPIP": func(a *attacker, to int) []byte {
		return ipv4(a.forged(to), a.nodes[to].at(), 4, a.inner(to))
	},
	"plaintext in GRE": func(a *attacker, to int) []byte {
		return ipv4(a.forged(to), a.nodes[to].at(), 47, append([]byte{0, 0, 8, 0}, a.inner(to)...))
	},
	"plaintext in VXLAN": func(a *attacker, to int) []byte {
		head := []byte{8, 0, 0, 0, 0, 0, byte(a.rng.IntN(4)), 0}
		inside := ethernet([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, a.mac, a.inner(to))
		return a.udp(to, vxlan, append(head, inside...))
	},
	"plaintext at the handshake's port": func(a *attacker, to int) []byte { return a.udp(to, natT, a.inner(to)) },
	"unsealed ESP with a live SPI": func(a *attacker, to int) []byte {
		esp := a.overheard(a.recent, isESP)
		if esp == nil {
			return nil
		}
		// A header that was seen, and behind it an IPv4 packet as no cipher at all would leave it (RFC 2410).
		head := bytes.Clone(udpPayload(esp)[:8])
		binary.BigEndian.PutUint32(head[4:], binary.BigEndian.Uint32(head[4:])+uint32(a.rng.IntN(1000)))
		return a.udp(to, natT, append(append(head, a.inner(to)...), 1, 2, 2, 4))
	},
	"bare ESP": func(a *attacker, to int) []byte {
		esp := a.overheard(a.recent, isESP)
		if esp == nil {
			return nil
		}
		return ipv4(a.forged(to), a.nodes[to].at(), 50, udpPayload(esp))
	},
	"unknown SPI": func(a *attacker, to int) []byte {
		b := binary.BigEndian.AppendUint32(nil, a.rng.Uint32()|0x100)
		return a.udp(to, natT, append(append(b, 0, 0, 0, 1), a.inner(to)...))
	},
	"replay": func(a *attacker, to int) []byte { return again(a.overheard(a.recent, a.bound(to))) },
	"replay of something old": func(a *attacker, to int) []byte {
		return again(a.overheard(a.old, a.bound(to)))
	},
	"replay with another source": func(a *attacker, to int) []byte {
		if f := a.overheard(a.recent, isESP); f != nil {
			return a.udp(to, natT, udpPayload(f))
		}
		return nil
	},
	"truncated": func(a *attacker, to int) []byte {
		if f := a.overheard(a.recent, isESP); f != nil {
			p := udpPayload(f)
			return a.udp(to, natT, p[:a.rng.IntN(len(p))])
		}
		return nil
	},
	"flipped bit": func(a *attacker, to int) []byte {
		f := again(a.overheard(a.recent, a.bound(to)))
		if f == nil || f[9] != protoUDP || len(f) <= 28 {
			return nil
		}
		f[28+a.rng.IntN(len(f)-28)] ^= 1 << a.rng.IntN(8)
		return f
	},
	"replayed handshake": func(a *attacker, to int) []byte {
		return again(a.overheard(a.handshakes, a.bound(to)))
	},
	"replayed handshake with another source": func(a *attacker, to int) []byte {
		if f := a.overheard(a.handshakes, isHandshake); f != nil {
			return a.udp(to, natT, udpPayload(f))
		}
		return nil
	},
	"garbled handshake": func(a *attacker, to int) []byte {
		f := a.overheard(a.handshakes, isHandshake)
		if f == nil {
			return nil
		}
		p := bytes.Clone(udpPayload(f))
		p[4+a.rng.IntN(len(p)-4)] ^= 1 << a.rng.IntN(8)
		return a.udp(to, natT, p)
	},
	"forged handshake": func(a *attacker, to int) []byte {
		p := []byte{0, 0, 0, 0, byte(1 + a.rng.IntN(4)), 1, 0, byte(1 + a.rng.IntN(2))}
		for len(p) < 1200 {
			p = append(p, byte(a.rng.Uint32()))
		}
		copy(p[32:], a.marker[:])
		return a.udp(to, natT, p[:100+a.rng.IntN(1101)])
	},
	"keepalive": func(a *attacker, to int) []byte { return a.udp(to, natT, []byte{0xff}) },
}

// inner is a packet as a container would send it, with the marker, for the container on a host. Its source is forged: of
// another container, that container itself, its gateway, a router, or the underlay.
func (a *attacker) inner(to int) []byte {
	target := a.target(to)
	sources := []netip.Addr{target, netip.MustParseAddr("10.42.0.1"), netip.MustParseAddr("100.127.0.1"), a.nodes[0].home, a.host.Addr}
	for i := range a.nodes {
		sources = append(sources, a.target(i))
	}
	body := bytes.Repeat(a.marker[:], 1+a.rng.IntN(60))
	if a.rng.IntN(2) == 0 {
		return ipv4(sources[a.rng.IntN(len(sources))], target, 1, append([]byte{0, 0, 0, 0, 0, 1, 0, 1}, body...))
	}
	return ipv4(sources[a.rng.IntN(len(sources))], target, protoUDP, udp(udpPort, udpPort, body))
}

// target is the address of the container on a host, as soon as there is one.
func (a *attacker) target(i int) netip.Addr {
	if c := a.nodes[i].container; c != nil {
		return c.Addr
	}
	return netip.AddrFrom4([4]byte{10, 42, 64, byte(2 + i)})
}

// udp is a datagram to a host, from another host as it seems.
func (a *attacker) udp(to int, port uint16, payload []byte) []byte {
	from := uint16(natT)
	if a.rng.IntN(4) == 0 {
		from = uint16(1024 + a.rng.IntN(60000))
	}
	return ipv4(a.forged(to), a.nodes[to].at(), protoUDP, udp(from, port, payload))
}

// forged is the address of another host, where that is now or at other times, or rarely the attacker's.
func (a *attacker) forged(to int) netip.Addr {
	n := a.nodes[(to+1+a.rng.IntN(len(a.nodes)-1))%len(a.nodes)]
	switch a.rng.IntN(8) {
	case 0:
		return a.host.Addr
	case 1:
		return n.away
	}
	return n.home
}

// overheard picks a frame of the list that is fit.
func (a *attacker) overheard(list [][]byte, fit func([]byte) bool) []byte {
	for range 20 {
		if len(list) == 0 {
			return nil
		}
		if f := list[a.rng.IntN(len(list))]; fit(f) {
			return f
		}
	}
	return nil
}

// bound fits frames for the host.
func (a *attacker) bound(to int) func([]byte) bool {
	return func(f []byte) bool { return bytes.Equal(f[:6], a.nodes[to].mac) }
}
