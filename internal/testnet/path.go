package testnet

import (
	"context"
	"fmt"
)

// SetMTU makes the underlay carry packets of at most mtu bytes from now on, as a switch that was changed: what is longer vanishes.
// The hosts' own links keep the MTU that they have.
func (c *Cluster) SetMTU(ctx context.Context, mtu int) error {
	lines := []string{fmt.Sprintf("link set br0 mtu %d", mtu), fmt.Sprintf("link set %s mtu %d", c.Outside.Name, mtu)}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.Hosts {
		lines = append(lines, fmt.Sprintf("link set %s mtu %d", h.Name, mtu))
	}
	return c.batch(ctx, lines...)
}

// Narrow leads the path between two hosts through the outside host, with a link of mtu bytes behind it; other paths stay. What is
// longer is dropped there: silently, or with the ICMP message that RFC 1191 asks for. 0 takes the detour away.
func (c *Cluster) Narrow(ctx context.Context, a, b *Host, mtu int, silent bool) error {
	for _, pair := range [][2]*Host{{a, b}, {b, a}} {
		from, to := pair[0], pair[1]
		if mtu == 0 {
			if _, err := from.Run(ctx, "ip", "route", "del", to.Addr.String()+"/32"); err != nil {
				return err
			}
			continue
		}
		if _, err := from.Run(ctx, "ip", "route", "replace", to.Addr.String()+"/32", "via", outsideAddr.String()); err != nil {
			return err
		}
		script := fmt.Sprintf(`sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0
			ip route replace %s/32 dev eth0 mtu lock %d
			iptables -D OUTPUT -p icmp --icmp-type fragmentation-needed -d %s -j DROP 2>/dev/null`, to.Addr, mtu, from.Addr)
		if silent {
			script += fmt.Sprintf("\niptables -A OUTPUT -p icmp --icmp-type fragmentation-needed -d %s -j DROP", from.Addr)
		} else {
			script += "; true"
		}
		if _, err := c.Outside.Run(ctx, "sh", "-c", script); err != nil {
			return err
		}
	}
	return nil
}
