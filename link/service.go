package link

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// ServiceAddr is where containers find what this host itself serves them: DNS and metadata. Every bridge has it, so it is
// the same on every host and network, and the source address of who asks is an endpoint's.
var ServiceAddr = netip.AddrFrom4([4]byte{169, 254, 169, 250})

// Service is a port of ServiceAddr that containers may reach.
type Service struct {
	UDP  bool // else TCP
	Port uint16
	// Rate is how many datagrams, or SYNs, of one source address get through in a second, and twice as many at once. The kernel
	// drops the others, and Drops counts them as "flood-udp-53". 0: no limit.
	Rate uint32
}

func (s Service) protocol() byte {
	if s.UDP {
		return unix.IPPROTO_UDP
	}
	return unix.IPPROTO_TCP
}

// flood is why what is too much for the service is dropped.
func (s Service) flood() string {
	if s.UDP {
		return fmt.Sprintf("flood-udp-%d", s.Port)
	}
	return fmt.Sprintf("flood-tcp-%d", s.Port)
}

// WithServices gives every bridge ServiceAddr and lets containers reach these ports of it, nothing else of the router.
// Without services there is no such address.
func WithServices(services ...Service) Option { return func(r *Router) { r.services = services } }

// addrs are the addresses of a bridge.
func (r *Router) addrs(b Bridge) []netlink.Addr {
	want := []netlink.Addr{{IPNet: toIPNet(netip.PrefixFrom(b.Gateway, b.Pool.Bits()))}}
	if len(r.services) > 0 {
		// Of narrower scope than the gateway's address, so that the kernel takes it for a source only to answer.
		want = append(want, netlink.Addr{IPNet: toIPNet(host(ServiceAddr)), Scope: unix.RT_SCOPE_LINK})
	}
	return want
}

// GiveService gives the container of a pair the on-link route to ServiceAddr by this pair, instead of the one it may have by
// another. sandbox is the file of the container's network namespace. It is an error if the container's end is not in there, or down.
func (r *Router) GiveService(sandbox, routerEnd string) error {
	if err := r.giveService(sandbox, routerEnd); err != nil {
		return fmt.Errorf("route to %s by veth %s: %w", ServiceAddr, routerEnd, err)
	}
	return nil
}

func (r *Router) giveService(sandbox, routerEnd string) error {
	port, err := find(r.nl, routerEnd)
	if err != nil {
		return err
	}
	if port == nil {
		return errors.New("it is not there")
	}
	bound, err := isNamespace(sandbox)
	if err != nil {
		return err
	}
	if !bound {
		return fmt.Errorf("%s is not a network namespace", sandbox)
	}
	ns, err := netns.GetFromPath(sandbox)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", sandbox, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", sandbox, err)
	}
	defer h.Close()
	// Both ends name each other by their index; Docker has renamed the container's.
	end, err := h.LinkByIndex(port.Attrs().ParentIndex)
	if err != nil {
		return fmt.Errorf("container's end in %s: %w", sandbox, err)
	}
	if end.Type() != "veth" || end.Attrs().ParentIndex != port.Attrs().Index {
		return fmt.Errorf("the container's end is not in %s", sandbox)
	}
	return h.RouteReplace(&netlink.Route{LinkIndex: end.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: toIPNet(host(ServiceAddr))})
}
