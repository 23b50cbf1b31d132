package testnet

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
)

var (
	underlayPrefix = netip.MustParsePrefix("172.30.0.0/24")
	outsideAddr    = netip.MustParseAddr("172.30.0.254")
	// Internet is an address behind the outside host, which containers reach by their default route only.
	Internet = netip.MustParseAddr("203.0.113.1")
)

// Underlay is the network of the hosts' own addresses; the outside host's is the last.
func Underlay() (hosts netip.Prefix, outside netip.Addr) { return underlayPrefix, outsideAddr }

// Enter runs fn on a thread inside the underlay's network namespace, where every frame between hosts passes.
func (c *Cluster) Enter(fn func() error) error { return c.underlay.do(fn) }

// setupUnderlay makes the bridge. It learns nothing but ports: no addresses, no multicast snooping of its own.
func (c *Cluster) setupUnderlay(ctx context.Context) error {
	return c.batch(ctx, "link add br0 type bridge mcast_snooping 0", "link set br0 up")
}

// plug joins a space to the underlay: eth0 there, a bridge port of the space's name here.
func (c *Cluster) plug(ctx context.Context, s *space, addr netip.Addr) error {
	if err := c.connect(ctx, c.underlay, "br0", s, netip.PrefixFrom(addr, underlayPrefix.Bits())); err != nil {
		return err
	}
	setup := fmt.Sprintf("ip addr add %s/32 dev lo && sysctl -qw net.ipv4.ip_forward=1", Internet)
	if addr != outsideAddr {
		setup = fmt.Sprintf("ip route add default via %s", outsideAddr)
	}
	_, err := s.run(ctx, "sh", "-c", setup)
	return err
}

// connect gives a space eth0 with an address, on a bridge in another one, with a port of the space's name there.
func (c *Cluster) connect(ctx context.Context, at *space, bridge string, s *space, addr netip.Prefix) error {
	err := at.batch(ctx,
		fmt.Sprintf("link add %s mtu %d type veth peer name eth0 mtu %[2]d netns %d", s.name, c.o.MTU, s.pid()),
		fmt.Sprintf("link set %s master %s up", s.name, bridge))
	if err != nil {
		return err
	}
	// As a network card does it: what crosses the underlay has the size of a packet.
	if _, err := s.run(ctx, "ethtool", "-K", "eth0", "tso", "off", "gso", "off", "tx-udp-segmentation", "off"); err != nil {
		return err
	}
	_, err = s.run(ctx, "sh", "-c", fmt.Sprintf("ip addr add %s dev eth0 && ip link set eth0 up", addr))
	return err
}

// SetPort sets a host's underlay port up or down: its cable.
func (c *Cluster) SetPort(ctx context.Context, h *Host, up bool) error {
	state := "down"
	if up {
		state = "up"
	}
	return c.batch(ctx, "link set "+h.Name+" "+state)
}

// Cut drops what goes from one host to another, one way; of UDP, TCP or both: proto is a match of nft(8) such as "tcp dport 2379",
// or empty. Mend lets it pass again.
func (c *Cluster) Cut(ctx context.Context, from, to *Host, proto string) error {
	// The bridge family's filter on the way through the bridge: it sees ports, whatever addresses the hosts have just now.
	rules := "add table bridge mst\nadd chain bridge mst cut { type filter hook forward priority 0; }\n" +
		fmt.Sprintf("add rule bridge mst cut iifname %q oifname %q %s drop comment %q\n", from.Name, to.Name, proto, cutName(from, to, proto))
	return c.nft(ctx, rules)
}

// Mend undoes a Cut with the same arguments.
func (c *Cluster) Mend(ctx context.Context, from, to *Host, proto string) error {
	script := fmt.Sprintf(`nft -a list chain bridge mst cut | sed -n 's/.*comment "%s" # handle //p' | while read h; do nft delete rule bridge mst cut handle $h; done`,
		cutName(from, to, proto))
	_, err := c.underlay.run(ctx, "sh", "-c", script)
	return err
}

// Split lets nothing pass between hosts of different groups, in place of an earlier split; with no groups all are joined again.
func (c *Cluster) Split(ctx context.Context, groups ...[]*Host) error {
	rules := "add table bridge mst\nadd chain bridge mst split { type filter hook forward priority 0; }\nflush chain bridge mst split\n"
	for i, from := range groups {
		for _, to := range groups[i+1:] {
			for _, way := range [][2]string{{ports(from), ports(to)}, {ports(to), ports(from)}} {
				rules += fmt.Sprintf("add rule bridge mst split iifname %s oifname %s drop\n", way[0], way[1])
			}
		}
	}
	return c.nft(ctx, rules)
}

// ports is a set of nft(8): the hosts' ports of the bridge.
func ports(hosts []*Host) string {
	var names []string
	for _, h := range hosts {
		names = append(names, strconv.Quote(h.Name))
	}
	return "{ " + strings.Join(names, ", ") + " }"
}

func cutName(from, to *Host, proto string) string {
	return strings.TrimSpace(from.Name + " to " + to.Name + " " + proto)
}

func (c *Cluster) nft(ctx context.Context, rules string) error {
	cmd := c.underlay.command(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	_, err := output(cmd, "underlay", []string{"nft", rules})
	return err
}

// batch runs lines of ip(8) in the underlay's network namespace.
func (c *Cluster) batch(ctx context.Context, lines ...string) error {
	return c.underlay.batch(ctx, lines...)
}

// batch runs lines of ip(8) in the space's network namespace. It does not enter the process namespace, so that `netns PID` means
// what this program means.
func (s *space) batch(ctx context.Context, lines ...string) error {
	cmd := exec.CommandContext(ctx, "nsenter", "-t", strconv.Itoa(s.pid()), "-n", "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n"))
	_, err := output(cmd, s.name, lines)
	return err
}
