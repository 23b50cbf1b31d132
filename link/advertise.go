package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// DefaultAddr gives the address, the link and the MTU that the host's default route uses, IPv4 before IPv6. In the
// calling thread's namespace, like ResolveAdvertise.
func DefaultAddr() (addr netip.Addr, dev string, mtu int, err error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return addr, "", 0, fmt.Errorf("default route: %w", err)
	}
	defer h.Close()
	// Documentation addresses (RFC 5737, 3849): nothing is sent, the kernel is asked which way it would go.
	for _, probe := range []string{"203.0.113.1", "2001:db8::1"} {
		routes, err := h.RouteGet(net.ParseIP(probe))
		if err != nil || len(routes) == 0 {
			continue
		}
		l, err := h.LinkByIndex(routes[0].LinkIndex)
		if err != nil {
			return addr, "", 0, fmt.Errorf("default route: %w", err)
		}
		src, ok := netip.AddrFromSlice(routes[0].Src)
		if !ok || l.Attrs().Flags&net.FlagLoopback != 0 {
			continue
		}
		mtu := l.Attrs().MTU
		if routes[0].MTU > 0 {
			mtu = min(mtu, routes[0].MTU)
		}
		return src.Unmap(), l.Attrs().Name, mtu, nil
	}
	return addr, "", 0, errors.New("no default route on this host: set ADVERTISE to its address or interface")
}

// resolveTimeout bounds the look-up of a name in ADVERTISE.
const resolveTimeout = 2 * time.Second

// fallbackMTU is assumed where an advertised address is on no link and there is no default route: Ethernet's.
const fallbackMTU = 1500

// Advertised is where other hosts find this one.
type Advertised struct {
	Addrs    []netip.Addr     // of this host's links; at least one
	Forwards []netip.AddrPort // of a NAT that forwards to this host
	MTU      int              // the smallest of the links of Addrs, bytes
}

// ResolveAdvertise resolves the setting ADVERTISE. Its items are separated by commas: an address of this host, the name of a
// link, a CIDR that contains an address of this host, a DNS name of one, or address:port (name:port, [address]:port) of a NAT
// that forwards UDP from there to this host. Order is kept. Without an item of the host's own, that is DefaultAddr.
func ResolveAdvertise(s string) (a Advertised, err error) {
	own, err := ownAddrs()
	if err != nil {
		return a, fmt.Errorf("ADVERTISE: %w", err)
	}
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item == "" && strings.TrimSpace(s) == "" {
			break
		}
		addrs, forwards, err := own.resolve(item)
		if err != nil {
			return a, fmt.Errorf("ADVERTISE: %q: %w", item, err)
		}
		for _, addr := range addrs {
			if !slices.Contains(a.Addrs, addr) {
				a.Addrs = append(a.Addrs, addr)
			}
		}
		for _, forward := range forwards {
			if !slices.Contains(a.Forwards, forward) {
				a.Forwards = append(a.Forwards, forward)
			}
		}
	}
	if len(a.Addrs) == 0 {
		addr, _, mtu, err := DefaultAddr()
		if err != nil {
			return a, err
		}
		a.Addrs, a.MTU = []netip.Addr{addr}, mtu
	}
	for _, addr := range a.Addrs {
		if m := own.mtu(addr); a.MTU == 0 || m < a.MTU {
			a.MTU = m
		}
	}
	return a, nil
}

// hostAddr is an address of a link of this host that other hosts may reach.
type hostAddr struct {
	addr netip.Addr
	dev  string
	mtu  int
}

type hostAddrs []hostAddr

// ownAddrs lists the addresses of all links, without loopback and link-local ones.
func ownAddrs() (hostAddrs, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	links, err := list(h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	var out hostAddrs
	for _, l := range links {
		have, err := list(func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_ALL) })
		if err != nil {
			return nil, fmt.Errorf("list addresses of %s: %w", l.Attrs().Name, err)
		}
		for _, a := range have {
			addr := fromIPNet(a.IPNet).Addr()
			if addr.IsGlobalUnicast() {
				out = append(out, hostAddr{addr, l.Attrs().Name, l.Attrs().MTU})
			}
		}
	}
	return out, nil
}

// resolve gives the addresses that one item stands for: of this host, or of a NAT.
func (own hostAddrs) resolve(item string) (addrs []netip.Addr, forwards []netip.AddrPort, err error) {
	if item == "" {
		return nil, nil, errors.New("empty item; allowed are addresses, interface names, CIDRs, DNS names, and address:port of a NAT")
	}
	if a, err := netip.ParseAddr(item); err == nil {
		return own.check([]netip.Addr{a})
	}
	if strings.Contains(item, "/") {
		p, err := netip.ParsePrefix(item)
		if err != nil {
			return nil, nil, errors.New("not a CIDR, such as 192.0.2.0/24")
		}
		got := own.where(func(a hostAddr) bool { return p.Contains(a.addr) })
		if len(got) == 0 {
			return nil, nil, errors.New("no address of this host is in it")
		}
		return got, nil, nil
	}
	if _, err := net.InterfaceByName(item); err == nil {
		got := own.where(func(a hostAddr) bool { return a.dev == item && a.addr.Is4() })
		if len(got) == 0 {
			got = own.where(func(a hostAddr) bool { return a.dev == item })
		}
		if len(got) == 0 {
			return nil, nil, errors.New("the interface has no address that other hosts can reach")
		}
		return got, nil, nil
	}
	if host, port, err := net.SplitHostPort(item); err == nil {
		forwards, err := resolveForward(host, port)
		return nil, forwards, err
	}
	got, err := lookupName(item)
	if err != nil {
		return nil, nil, err
	}
	return own.check(got)
}

// check passes addresses of this host.
func (own hostAddrs) check(addrs []netip.Addr) ([]netip.Addr, []netip.AddrPort, error) {
	for i, a := range addrs {
		if a = a.Unmap(); !reachable(a) {
			return nil, nil, errUnreachable
		}
		if !slices.ContainsFunc(own, func(o hostAddr) bool { return o.addr == a }) {
			return nil, nil, fmt.Errorf("this host does not have the address; if a NAT forwards to this host, add the NAT's port: %s",
				netip.AddrPortFrom(a, 4500))
		}
		addrs[i] = a
	}
	return addrs, nil, nil
}

// resolveForward gives the addresses of a NAT.
func resolveForward(host, port string) ([]netip.AddrPort, error) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return nil, fmt.Errorf("%q is not a port from 1 to 65535", port)
	}
	addrs := make([]netip.Addr, 1)
	if addrs[0], err = netip.ParseAddr(host); err != nil {
		if addrs, err = lookupName(host); err != nil {
			return nil, err
		}
	}
	var all []netip.AddrPort
	for _, a := range addrs {
		if a = a.Unmap(); !reachable(a) {
			return nil, errUnreachable
		}
		all = append(all, netip.AddrPortFrom(a, uint16(n)))
	}
	return all, nil
}

var errUnreachable = errors.New("not an address that other hosts can reach")

func reachable(a netip.Addr) bool { return a.IsGlobalUnicast() && a.Zone() == "" }

func (own hostAddrs) where(keep func(hostAddr) bool) (out []netip.Addr) {
	for _, a := range own {
		if keep(a) {
			out = append(out, a.addr)
		}
	}
	return out
}

// mtu is that of the link that has the address, else the default route's.
func (own hostAddrs) mtu(addr netip.Addr) int {
	for _, a := range own {
		if a.addr == addr {
			return a.mtu
		}
	}
	if _, _, mtu, err := DefaultAddr(); err == nil {
		return mtu
	}
	return fallbackMTU
}

func lookupName(name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	got, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, fmt.Errorf("neither an address, an interface of this host, a CIDR nor a name that resolves: %w", err)
	}
	var out []netip.Addr
	for _, a := range got {
		if a = a.Unmap(); a.IsGlobalUnicast() {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("the name has no address that other hosts can reach")
	}
	return out, nil
}
