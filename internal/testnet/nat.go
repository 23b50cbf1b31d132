package testnet

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/meshsec/meshsec/internal/testnet/leak"
)

// Translation is how a NAT chooses the port that a host's UDP gets outside (RFC 4787, section 4.1). What comes in passes, with
// each of them, only from an address and port to which the host has sent, or where Forward says so.
type Translation string

const (
	// Keep is Linux's masquerade: the port stays, unless another host has it towards the same destination.
	Keep Translation = "keep"
	// Map gives UDP 4500 of each host a port of its own, for all destinations, also for the other hosts behind the NAT (hairpin).
	Map Translation = "map"
	// Random chooses another port for each destination.
	Random Translation = "random"
)

// lans are the networks behind NATs: all homes have the same one; behind a NAT with other NATs is another.
var (
	homeLAN    = netip.MustParsePrefix("172.30.1.0/24")
	carrierLAN = netip.MustParsePrefix("172.30.2.0/24")
	lans       = netip.MustParsePrefix("172.30.0.0/16")
)

// NAT is a router that translates addresses, between its LAN and the underlay or the LAN of another NAT.
type NAT struct {
	Name string

	space   *space
	cluster *Cluster
	wan     netip.Prefix
	lan     netip.Prefix
	members []netip.Addr // of the LAN, in order
	kind    Translation
	base    int // Map: the first member's port, less one
	rules   []string
}

// AddNAT makes a home's NAT on the underlay, or behind a carrier's. Only with Options.NAT.
func (c *Cluster) AddNAT(ctx context.Context, name string, behind *NAT, kind Translation) (*NAT, error) {
	return c.addNAT(ctx, name, behind, kind, homeLAN)
}

// AddCarrier makes a NAT on the underlay for the NATs of homes. Only with Options.NAT.
func (c *Cluster) AddCarrier(ctx context.Context, name string, kind Translation) (*NAT, error) {
	return c.addNAT(ctx, name, nil, kind, carrierLAN)
}

func (c *Cluster) addNAT(ctx context.Context, name string, behind *NAT, kind Translation, lan netip.Prefix) (*NAT, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.space(name)
	if err != nil {
		return nil, err
	}
	n := &NAT{Name: name, space: s, cluster: c, lan: lan, kind: kind, base: 20000}
	c.nats = append(c.nats, n)
	at, bridge, gateway := c.underlay, "br0", outsideAddr
	n.wan = netip.PrefixFrom(nth(underlayPrefix, 100+len(c.nats)), underlayPrefix.Bits())
	if behind != nil {
		at, bridge, gateway = behind.space, "lan", behind.gateway()
		n.wan = behind.join()
	}
	if err := c.connect(ctx, at, bridge, s, n.wan); err != nil {
		return nil, err
	}
	script := fmt.Sprintf(`ip route add default via %s
		ip link add lan type bridge mcast_snooping 0 && ip addr add %s/%d dev lan && ip link set lan up
		sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.lan.send_redirects=0`, gateway, n.gateway(), lan.Bits())
	if _, err := s.run(ctx, "sh", "-e", "-c", script); err != nil {
		return nil, err
	}
	if behind != nil {
		if err := behind.apply(ctx); err != nil {
			return nil, err
		}
	}
	return n, n.apply(ctx)
}

// AddHost adds a host behind the NAT.
func (n *NAT) AddHost(ctx context.Context, name string) (*Host, error) {
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.space(name)
	if err != nil {
		return nil, err
	}
	addr := n.join()
	h := &Host{Name: name, Addr: addr.Addr(), space: s, cluster: c}
	c.Hosts = append(c.Hosts, h)
	if err := c.connect(ctx, n.space, "lan", s, addr); err != nil {
		return nil, err
	}
	if _, err := s.run(ctx, "ip", "route", "add", "default", "via", n.gateway().String()); err != nil {
		return nil, err
	}
	return h, n.apply(ctx)
}

// Addr is the NAT's address outside.
func (n *NAT) Addr() netip.Addr { return n.wan.Addr() }

// Forward lets in what comes to a UDP port from anywhere, to UDP 4500 of a host.
func (n *NAT) Forward(ctx context.Context, port uint16, h *Host) error {
	n.rules = append(n.rules, fmt.Sprintf("add rule ip nat prerouting iifname eth0 udp dport %d dnat to %s:4500", port, h.Addr))
	return n.apply(ctx)
}

// Renumber gives a NAT on the underlay another address there, as providers do over night; it forgets all that it has translated.
func (n *NAT) Renumber(ctx context.Context, last int) error {
	old := n.wan
	n.wan = netip.PrefixFrom(nth(old.Masked(), last), old.Bits())
	script := fmt.Sprintf("ip addr del %s dev eth0 && ip addr add %s dev eth0 && ip route replace default via %s", old, n.wan, outsideAddr)
	if _, err := n.space.run(ctx, "sh", "-c", script); err != nil {
		return err
	}
	if err := n.apply(ctx); err != nil {
		return err
	}
	return n.Forget()
}

// Remap makes a NAT that maps choose other ports, as after a restart.
func (n *NAT) Remap(ctx context.Context) error {
	n.base += 1000
	if err := n.apply(ctx); err != nil {
		return err
	}
	return n.Forget()
}

// Forget makes the NAT forget all that it has translated.
func (n *NAT) Forget() error {
	return n.space.do(func() error {
		if err := netlink.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
			return fmt.Errorf("conntrack of %s: %w", n.Name, err)
		}
		return nil
	})
}

// Watch starts the leak harness on both sides of the NAT.
func (n *NAT) Watch() (*leak.Watch, error) {
	return leak.Start(n.space.do, n.cluster.rules())
}

func (n *NAT) gateway() netip.Addr { return nth(n.lan, 254) }

// join gives the next address of the LAN.
func (n *NAT) join() netip.Prefix {
	n.members = append(n.members, nth(n.lan, len(n.members)+1))
	return netip.PrefixFrom(n.members[len(n.members)-1], n.lan.Bits())
}

// apply replaces the NAT's rules. Like a home's router it drops what it does not expect, and answers nothing.
func (n *NAT) apply(ctx context.Context) error {
	lines := []string{
		"flush ruleset", "add table ip nat", "add table ip guard",
		"add chain ip nat prerouting { type nat hook prerouting priority -100; }",
		"add chain ip nat postrouting { type nat hook postrouting priority 100; }",
		"add chain ip guard input { type filter hook input priority 0; }",
		"add rule ip guard input meta l4proto udp drop",
		"add chain ip guard forward { type filter hook forward priority 0; policy drop; }",
		"add rule ip guard forward ct state established,related accept",
		"add rule ip guard forward ct status dnat accept",
		"add rule ip guard forward iifname lan oifname eth0 accept",
		"add rule ip guard forward iifname lan oifname lan accept", // bridged, on a machine whose bridges ask the filter
	}
	lines = append(lines, n.rules...)
	if n.kind == Map {
		for i, a := range n.members {
			port := n.base + i + 1
			lines = append(lines,
				fmt.Sprintf("add rule ip nat prerouting iifname lan ip daddr %s udp dport %d dnat to %s:4500", n.Addr(), port, a),
				fmt.Sprintf("add rule ip nat postrouting oifname eth0 ip saddr %s udp sport 4500 snat to %s:%d", a, n.Addr(), port),
				fmt.Sprintf("add rule ip nat postrouting oifname lan ct status dnat ip saddr %s udp sport 4500 snat to %s:%d", a, n.Addr(), port))
		}
	}
	masquerade := "add rule ip nat postrouting oifname eth0 masquerade"
	if n.kind == Random {
		masquerade += " random,fully-random"
	}
	cmd := n.space.command(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(strings.Join(append(lines, masquerade), "\n"))
	_, err := output(cmd, n.Name, lines)
	return err
}

// nth is the address of a prefix with this last byte.
func nth(p netip.Prefix, last int) netip.Addr {
	b := p.Addr().As4()
	b[3] = byte(last)
	return netip.AddrFrom4(b)
}
