package store

import (
	"cmp"
	"fmt"
	"net/netip"
)

// Port is a port of a container.
type Port struct {
	Proto string `json:"proto"` // "tcp", "udp" or "sctp"
	Port  uint16 `json:"port"`  // the container's
	// HostPort is where the container's host publishes it (-p); 0: nowhere, or not known yet.
	HostPort uint16 `json:"host_port,omitempty"`
	// HostIP is the address of the host that it is published on; zero: on all of them.
	HostIP netip.Addr `json:"host_ip,omitzero"`
}

// String writes the port as `docker ps` does: 80/tcp, or 192.0.2.1:8080->80/tcp.
func (p Port) String() string {
	inside := fmt.Sprintf("%d/%s", p.Port, p.Proto)
	switch {
	case p.HostPort == 0:
		return inside
	case !p.HostIP.IsValid():
		return fmt.Sprintf("*:%d->%s", p.HostPort, inside)
	}
	return fmt.Sprintf("%v->%s", netip.AddrPortFrom(p.HostIP, p.HostPort), inside)
}

// Compare orders ports by the container's port, then protocol, then where they are published.
func (p Port) Compare(q Port) int {
	return cmp.Or(cmp.Compare(p.Port, q.Port), cmp.Compare(p.Proto, q.Proto), p.HostIP.Compare(q.HostIP), cmp.Compare(p.HostPort, q.HostPort))
}
