package leak

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Numbers of the protocols that are told apart.
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd

	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoESP    = 50
	protoICMPv6 = 58
	protoHop    = 0 // IPv6 hop-by-hop options: multicast listener reports

	natT = 4500 // RFC 3948
)

// frame looks at one frame.
func (w *Watch) frame(b []byte) {
	if len(b) >= 22 && binary.BigEndian.Uint16(b[12:]) == etherTest {
		w.mu.Lock()
		w.marker = binary.BigEndian.Uint64(b[14:])
		w.mu.Unlock()
		w.synced.Broadcast()
		return
	}
	if w.rules.Attacker != nil && len(b) >= 14 && bytes.Equal(b[6:12], w.rules.Attacker) {
		return
	}
	if w.rules.Overhear != nil {
		w.rules.Overhear(b)
	}
	name, why := w.judge(b)
	if bytes.Contains(b, w.Canary[:]) {
		why = "a canary in the clear"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	flow := w.flows[name]
	if flow == nil {
		flow = &Flow{Name: name, Min: len(b)}
		w.flows[name] = flow
	}
	flow.Frames++
	flow.Bytes += len(b)
	flow.Min, flow.Max = min(flow.Min, len(b)), max(flow.Max, len(b))
	if name == flowESP || name == flowBareESP {
		w.recent = append(w.recent, bytes.Clone(b))
		w.recent = w.recent[max(0, len(w.recent)-recentFrames):]
	}
	if why != "" {
		w.leaks = append(w.leaks, Leak{At: time.Now(), Why: why, Frame: bytes.Clone(b[:min(len(b), 256)])})
	}
}

// judge names the kind of frame, and says why it should not have crossed; empty when it may.
func (w *Watch) judge(b []byte) (name, why string) {
	if len(b) < 14 {
		return "short", "a frame without header"
	}
	payload := b[14:]
	switch kind := binary.BigEndian.Uint16(b[12:]); kind {
	case etherARP:
		return "ARP", w.judgeARP(payload)
	case etherIPv4:
		return w.judgeIPv4(payload)
	case etherIPv6:
		if len(payload) >= 40 && (payload[6] == protoICMPv6 || payload[6] == protoHop) {
			return "ICMPv6", "" // neighbour discovery of the links themselves
		}
		return "IPv6", "IPv6 between hosts"
	default:
		return fmt.Sprintf("ethertype %04x", kind), "an unknown ethertype"
	}
}

func (w *Watch) judgeARP(b []byte) string {
	if len(b) < 28 {
		return "a short ARP packet"
	}
	for _, raw := range [][]byte{b[14:18], b[24:28]} {
		addr, _ := netip.AddrFromSlice(raw)
		if w.isContainer(addr) {
			return "ARP about container address " + addr.String()
		}
		if !w.rules.Hosts.Contains(addr) && !addr.IsUnspecified() {
			return "ARP about foreign address " + addr.String()
		}
	}
	return ""
}

func (w *Watch) judgeIPv4(b []byte) (name, why string) {
	p, ok := parseIPv4(b)
	if !ok {
		return "IPv4", "a malformed IPv4 header"
	}
	name = p.name()
	for _, addr := range []netip.Addr{p.src, p.dst} {
		if w.isContainer(addr) {
			return name, "container address " + addr.String()
		}
	}
	if within(w.rules.Outside, p.src) || within(w.rules.Outside, p.dst) {
		return "outside " + name, w.judgeQuoted(p)
	}
	if !w.rules.Hosts.Contains(p.src) || !w.rules.Hosts.Contains(p.dst) {
		return name, fmt.Sprintf("%s to %s: neither is of the underlay", p.src, p.dst)
	}
	switch {
	case p.proto == protoICMP:
		return name, w.judgeQuoted(p)
	case p.later:
		return name, "a fragment"
	case p.proto == protoUDP && (w.rules.NAT || p.either(w.rules.UDP)), p.proto == protoTCP && p.either(w.rules.TCP), p.proto == protoESP && w.rules.ESP:
		return name, ""
	}
	return name, name + " between hosts"
}

// judgeQuoted looks into the packet that an ICMP error quotes.
func (w *Watch) judgeQuoted(p packet) string {
	if p.proto != protoICMP || len(p.payload) < 8 || !slices.Contains([]byte{3, 4, 5, 11, 12}, p.payload[0]) {
		return ""
	}
	inner, ok := parseIPv4(p.payload[8:])
	if !ok {
		return ""
	}
	for _, addr := range []netip.Addr{inner.src, inner.dst} {
		if w.isContainer(addr) {
			return "an ICMP error that quotes container address " + addr.String()
		}
	}
	return ""
}

func (w *Watch) isContainer(addr netip.Addr) bool { return within(w.rules.Containers, addr) }

func within(prefixes []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}
