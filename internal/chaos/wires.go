package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshsec/meshsec/internal/testnet"
)

func wires(f Fault) []string {
	there, back := name(f.Host)+" to "+name(f.Peer), name(f.Peer)+" to "+name(f.Host)
	if f.What == oneWay {
		return []string{there}
	}
	return []string{there, back}
}

// cut stops what passes between the fault's hosts, or lets it pass again.
func (r *rig) cut(ctx context.Context, f Fault, proto string, off bool) error {
	do := r.Mend
	if off {
		do = r.Cut
	}
	a, b := r.nodes[f.Host].host, r.nodes[f.Peer].host
	if err := do(ctx, a, b, proto); err != nil || f.What == oneWay {
		return err
	}
	return do(ctx, b, a, proto)
}

// move gives the host another underlay address instead of the one that it has.
func (n *node) move(ctx context.Context, to netip.Addr) error {
	const script = `ip addr add %s/24 dev eth0 && ip addr del %s/24 dev eth0; ip route replace default via 172.30.0.254`
	_, err := n.host.Run(ctx, "sh", "-c", fmt.Sprintf(script, to, n.at()))
	n.now.Store(&to)
	return err
}

// between separates groups of hosts in Fault.What.
const between = " and "

// drawGroups puts all hosts into two or three groups: from one host that is cut off to halves and thirds.
func drawGroups(rng *rand.Rand, hosts int) string {
	groups := make([]string, 2+rng.IntN(min(2, hosts-1)))
	rest := len(groups)
	if rng.IntN(2) == 0 {
		rest = 1 // all but those who are alone are together
	}
	for i, host := range rng.Perm(hosts) {
		if i >= len(groups) { // each has somebody by now
			i = rng.IntN(rest)
		}
		groups[i] = strings.TrimSpace(groups[i] + " " + name(host))
	}
	return strings.Join(groups, between)
}

// groups are the hosts as drawGroups has put them together.
func (r *rig) groups(f Fault) [][]*testnet.Host {
	var groups [][]*testnet.Host
	for _, names := range strings.Split(f.What, between) {
		var hosts []*testnet.Host
		for i, n := range r.nodes {
			if slices.Contains(strings.Fields(names), name(i)) {
				hosts = append(hosts, n.host)
			}
		}
		groups = append(groups, hosts)
	}
	return groups
}
