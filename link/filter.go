package link

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Filter is what the router namespace lets through: per network, between its bridge and the tunnels, and only from and
// to its own pool.
type Filter struct {
	Routers  netip.Prefix // the range that router addresses are taken from
	Networks []FilterNetwork
}

// FilterNetwork is a network within a Filter.
type FilterNetwork struct {
	Bridge  string
	Pool    netip.Prefix
	Gateway netip.Addr
}

// ICMP types (RFC 792).
const (
	icmpEchoReply        = 0
	icmpUnreachable      = 3
	icmpEchoRequest      = 8
	icmpTimeExceeded     = 11
	icmpParameterProblem = 12
)

// SetFilter replaces the packet filter of the router namespace (nftables table meshsec):
//
//   - forwarding: between a network's bridge and the tunnels, source and destination both in its pool; ICMP errors of
//     other hosts' routers; nothing else, so nothing between networks. TCP's MSS is clamped.
//   - to the router itself: a container's ping of its gateway, its services as often as they allow, and ICMP between router addresses.
//
// No connection tracking: it costs, its table can overflow, and nothing here needs it. Traffic within a bridge does
// not pass (or, if br_netfilter is switched on, is accepted like what leaves).
func (r *Router) SetFilter(f Filter) error {
	r.filter.mu.Lock()
	defer r.filter.mu.Unlock()
	return r.filter.set(fmt.Sprintf("%+v %v", f, r.services), func(c *nftables.Conn, t *nftables.Table) error {
		if len(r.services) > 0 {
			counts, err := r.filter.counts()
			if err != nil {
				return err
			}
			if err := buildServe(c, t, r.services, counts); err != nil {
				return err
			}
		}
		f.build(c, t, len(r.services) > 0)
		return nil
	})
}

// build writes the table, of which the chain of the services is there if there are any.
func (f Filter) build(c *nftables.Conn, t *nftables.Table, services bool) {
	drop := nftables.ChainPolicyDrop
	base := func(name string, hook *nftables.ChainHook) *nftables.Chain {
		return c.AddChain(&nftables.Chain{Name: name, Table: t, Type: nftables.ChainTypeFilter, Hooknum: hook,
			Priority: nftables.ChainPriorityFilter, Policy: &drop})
	}
	forward, input := base("forward", nftables.ChainHookForward), base("input", nftables.ChainHookInput)
	arrive := c.AddChain(&nftables.Chain{Name: "arrive", Table: t})
	leave := c.AddChain(&nftables.Chain{Name: "leave", Table: t})
	add := func(ch *nftables.Chain, r rule) { c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: r}) }

	add(forward, rule{}.clampMSS())
	add(forward, rule{}.iif(TunName).jump(arrive))
	add(forward, rule{}.iifPrefix(TunnelPrefix).jump(arrive))
	add(forward, rule{}.oif(TunName).jump(leave))
	add(forward, rule{}.oifPrefix(TunnelPrefix).jump(leave))
	add(input, rule{}.iif("lo").accept())
	for _, n := range f.Networks {
		within := func(r rule) rule { return r.ipv4().from(n.Pool).to(n.Pool) }
		add(arrive, within(rule{}.oif(n.Bridge)).accept())
		add(leave, within(rule{}.iif(n.Bridge)).accept())
		add(forward, within(rule{}.iif(n.Bridge).oif(n.Bridge)).accept())
		add(input, rule{}.iif(n.Bridge).ipv4().from(n.Pool).to(host(n.Gateway)).icmp(icmpEchoRequest).accept())
		if services {
			add(input, rule{}.iif(n.Bridge).ipv4().from(n.Pool).to(host(ServiceAddr)).jump(&nftables.Chain{Name: serveChain}))
		}
	}
	if !f.Routers.IsValid() {
		return
	}
	for _, n := range f.Networks {
		for _, kind := range []byte{icmpUnreachable, icmpTimeExceeded, icmpParameterProblem} {
			add(arrive, rule{}.oif(n.Bridge).ipv4().from(f.Routers).to(n.Pool).icmp(kind).accept())
		}
	}
	for _, tunnel := range []rule{rule{}.iif(TunName), rule{}.iifPrefix(TunnelPrefix)} {
		add(input, tunnel.ipv4().from(f.Routers).to(f.Routers).protocol(unix.IPPROTO_ICMP).accept())
	}
}

// host is the prefix of one address.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
