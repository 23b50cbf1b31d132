package testnet

import (
	"net"
	"net/netip"

	"github.com/meshsec/meshsec/internal/testnet/leak"
)

// Pools are the containers' addresses in tests: those of networks made without --subnet, one that tests give, and the routers'.
var Pools = []netip.Prefix{
	netip.MustParsePrefix("10.42.0.0/15"), netip.MustParsePrefix("10.44.0.0/14"), netip.MustParsePrefix("10.48.0.0/12"),
	netip.MustParsePrefix("10.77.0.0/16"), netip.MustParsePrefix("100.127.0.0/16"),
}

// Watch starts the leak harness on the cluster's underlay: ESP and handshake on UDP 4500 and etcd may cross, with Options.ESP
// also ESP by itself, with Options.Swarm its gossip and its managers' port, and nothing else.
func (c *Cluster) Watch() (*leak.Watch, error) {
	return leak.Start(c.Enter, c.rules())
}

// WatchAttack is Watch with an attacker on the underlay: what it sends is no leak, and overhear gets what all others send, as
// leak.Rules says.
func (c *Cluster) WatchAttack(attacker net.HardwareAddr, overhear func(frame []byte)) (*leak.Watch, error) {
	r := c.rules()
	r.Attacker, r.Overhear = attacker, overhear
	return leak.Start(c.Enter, r)
}

func (c *Cluster) rules() leak.Rules {
	hosts := underlayPrefix
	if c.o.NAT {
		hosts = lans
	}
	udp, tcp := []uint16{4500}, []uint16{2379, 2380}
	if c.o.Swarm {
		udp, tcp = append(udp, 7946), append(tcp, 2377, 7946)
	}
	return leak.Rules{
		Hosts:      hosts,
		Outside:    []netip.Prefix{netip.PrefixFrom(outsideAddr, 32), netip.PrefixFrom(Internet, 32)},
		Containers: Pools,
		UDP:        udp,
		TCP:        tcp,
		ESP:        c.o.ESP,
		NAT:        c.o.NAT,
	}
}
