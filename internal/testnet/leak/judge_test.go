package leak

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
)

var testRules = Rules{
	Hosts:      netip.MustParsePrefix("172.30.0.0/24"),
	Outside:    []netip.Prefix{netip.MustParsePrefix("172.30.0.254/32")},
	Containers: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")},
	UDP:        []uint16{4500},
	TCP:        []uint16{2379, 2380},
}

func ethernet(kind uint16, payload ...[]byte) []byte {
	head := append(make([]byte, 12), binary.BigEndian.AppendUint16(nil, kind)...)
	return append(head, bytes.Join(payload, nil)...)
}

// ipv4 is a packet with the payload; fragment is the offset field.
func ipv4(src, dst string, proto byte, fragment uint16, payload []byte) []byte {
	b := make([]byte, 20)
	b[0], b[9] = 0x45, proto
	binary.BigEndian.PutUint16(b[6:], fragment)
	copy(b[12:], netip.MustParseAddr(src).AsSlice())
	copy(b[16:], netip.MustParseAddr(dst).AsSlice())
	return append(b, payload...)
}

func ports(src, dst uint16, rest ...byte) []byte {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, src), dst)
	return append(append(b, 0, 0, 0, 0), rest...)
}

func arpAbout(sender, target string) []byte {
	b := make([]byte, 28)
	copy(b[14:], netip.MustParseAddr(sender).AsSlice())
	copy(b[24:], netip.MustParseAddr(target).AsSlice())
	return b
}

func TestJudge(t *testing.T) {
	const a, b, box, out = "172.30.0.1", "172.30.0.2", "10.42.3.4", "172.30.0.254"
	esp := ports(4500, 4500, 1, 2, 3, 4, 0, 0, 0, 1)
	unreachable := func(inner []byte) []byte { return append([]byte{3, 0, 0, 0, 0, 0, 0, 0}, inner...) }
	for _, c := range []struct {
		what  string
		frame []byte
		name  string
		why   string // part of the reason; empty: may cross
	}{
		{"esp", ethernet(etherIPv4, ipv4(a, b, protoUDP, 0, esp)), flowESP, ""},
		{"handshake", ethernet(etherIPv4, ipv4(a, b, protoUDP, 0, ports(4500, 4500, 0, 0, 0, 0, 1))), flowHandshake, ""},
		{"keepalive", ethernet(etherIPv4, ipv4(a, b, protoUDP, 0, ports(4500, 4500, 0xff))), "keepalive in UDP 4500", ""},
		{"etcd", ethernet(etherIPv4, ipv4(a, b, protoTCP, 0, ports(40000, 2379))), "TCP 2379", ""},
		{"underlay ping", ethernet(etherIPv4, ipv4(a, b, protoICMP, 0, []byte{8, 0, 0, 0, 0, 0, 0, 0})), "ICMP", ""},
		{"underlay arp", ethernet(etherARP, arpAbout(a, b)), "ARP", ""},
		{"arp probe", ethernet(etherARP, arpAbout("0.0.0.0", b)), "ARP", ""},
		{"neighbour discovery", ethernet(etherIPv6, append(make([]byte, 6), protoICMPv6), make([]byte, 33)), "ICMPv6", ""},
		{"outside", ethernet(etherIPv4, ipv4(a, out, protoTCP, 0, ports(40000, 80))), "outside TCP 80", ""},

		{"container source", ethernet(etherIPv4, ipv4(box, b, protoUDP, 0, esp)), flowESP, "10.42.3.4"},
		{"container target", ethernet(etherIPv4, ipv4(a, box, protoTCP, 0, ports(1, 2))), "TCP 1", "10.42.3.4"},
		{"container to outside", ethernet(etherIPv4, ipv4(box, out, protoTCP, 0, ports(1, 2))), "TCP 1", "10.42.3.4"},
		{"container arp sender", ethernet(etherARP, arpAbout(box, b)), "ARP", "10.42.3.4"},
		{"container arp target", ethernet(etherARP, arpAbout(a, box)), "ARP", "10.42.3.4"},
		{"foreign arp", ethernet(etherARP, arpAbout(a, "192.0.2.1")), "ARP", "192.0.2.1"},
		{"quoted", ethernet(etherIPv4, ipv4(a, b, protoICMP, 0, unreachable(ipv4(box, b, protoUDP, 0, nil)))), "ICMP", "quotes"},
		{"quoted outside", ethernet(etherIPv4, ipv4(out, b, protoICMP, 0, unreachable(ipv4(b, box, protoUDP, 0, nil)))), "outside ICMP", "quotes"},
		{"other port", ethernet(etherIPv4, ipv4(a, b, protoUDP, 0, ports(53, 53))), "UDP 53", "between hosts"},
		{"other protocol", ethernet(etherIPv4, ipv4(a, b, 47, 0, nil)), "protocol 47", "between hosts"},
		{"fragment", ethernet(etherIPv4, ipv4(a, b, protoUDP, 100, esp)), "fragment of protocol 17", "fragment"},
		{"bridge address", ethernet(etherIPv4, ipv4("172.18.0.2", "172.18.0.3", protoUDP, 0, esp)), flowESP, "neither"},
		{"ipv6", ethernet(etherIPv6, append(make([]byte, 6), protoUDP), make([]byte, 33)), "IPv6", "IPv6"},
		{"ethertype", ethernet(0x1234), "ethertype 1234", "unknown"},
		{"short", []byte{1}, "short", "without header"},
		{"short ip", ethernet(etherIPv4, []byte{0x45}), "IPv4", "malformed"},
		{"short arp", ethernet(etherARP, []byte{0}), "ARP", "short"},
	} {
		w := Watch{rules: testRules}
		name, why := w.judge(c.frame)
		if name != c.name || (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: %q, %q; want %q, %q", c.what, name, why, c.name, c.why)
		}
	}
}

func TestJudgeESP(t *testing.T) {
	frame := ethernet(etherIPv4, ipv4("172.30.0.1", "172.30.0.2", protoESP, 0, make([]byte, 40)))
	for _, allowed := range []bool{false, true} {
		w := Watch{rules: testRules}
		w.rules.ESP = allowed
		if name, why := w.judge(frame); name != flowBareESP || (why == "") != allowed {
			t.Errorf("allowed %v: %q, %q", allowed, name, why)
		}
		if _, why := w.judge(ethernet(etherIPv4, ipv4("172.30.0.1", "172.30.0.2", protoESP, 100, nil))); why == "" {
			t.Errorf("allowed %v: a fragment passes", allowed)
		}
	}
}

// TestAttackersFrames are told by their Ethernet source alone: no leaks, but what a host says of them may be one.
func TestAttackersFrames(t *testing.T) {
	plain := ethernet(etherIPv4, ipv4("10.42.3.4", "10.42.3.5", protoUDP, 0, ports(1, 2)))
	own := bytes.Clone(plain)
	copy(own[6:], []byte{2, 0, 0, 0, 0, 9})
	var overheard int
	w := Watch{rules: testRules, flows: map[string]*Flow{}}
	w.rules.Attacker, w.rules.Overhear = own[6:12], func([]byte) { overheard++ }
	if w.frame(own); len(w.leaks) != 0 || len(w.flows) != 0 || overheard != 0 {
		t.Errorf("the attacker's: %d leaks, %d flows, %d overheard", len(w.leaks), len(w.flows), overheard)
	}
	if w.frame(plain); len(w.leaks) != 1 || overheard != 1 {
		t.Errorf("another's: %d leaks, %d overheard", len(w.leaks), overheard)
	}
	w.Canary = [16]byte([]byte("0123456789abcdef"))
	if w.frame(append(plain, w.Canary[:]...)); len(w.leaks) != 2 || w.leaks[1].Why != "a canary in the clear" {
		t.Errorf("%+v", w.leaks)
	}
}

func FuzzJudge(f *testing.F) {
	f.Add(ethernet(etherIPv4, ipv4("172.30.0.1", "172.30.0.2", protoICMP, 0, []byte{3, 1, 0, 0, 0, 0, 0, 0, 0x45})))
	f.Add(ethernet(etherARP, arpAbout("10.42.0.1", "10.42.0.2")))
	w := Watch{rules: testRules}
	f.Fuzz(func(_ *testing.T, b []byte) { w.judge(b) })
}
