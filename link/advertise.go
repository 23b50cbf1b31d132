package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
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

// ResolveAdvertise turns the setting ADVERTISE into addresses, in its order, and the smallest MTU of their links (bytes).
// Its items are separated by commas: an address (which may be on no link of this host: behind a NAT that forwards to it),
// the name of a link, a CIDR that contains an address of this host, or a DNS name. Empty means DefaultAddr.
func ResolveAdvertise(s string) (addrs []netip.Addr, mtu int, err error) {
	if strings.TrimSpace(s) == "" {
		addr, _, mtu, err := DefaultAddr()
		if err != nil {
			return nil, 0, err
		}
		return []netip.Addr{addr}, mtu, nil
	}
	own, err := ownAddrs()
	if err != nil {
		return nil, 0, fmt.Errorf("ADVERTISE: %w", err)
	}
	for item := range strings.SplitSeq(s, ",") {
		got, err := own.resolve(strings.TrimSpace(item))
		if err != nil {
			return nil, 0, fmt.Errorf("ADVERTISE: %q: %w", strings.TrimSpace(item), err)
		}
		for _, a := range got {
			if !slices.Contains(addrs, a) {
				addrs = append(addrs, a)
			}
		}
	}
	for _, a := range addrs {
		m := own.mtu(a)
		if mtu == 0 || m < mtu {
			mtu = m
		}
	}
	return addrs, mtu, nil
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

// resolve gives the addresses that one item stands for.
func (own hostAddrs) resolve(item string) ([]netip.Addr, error) {
	if item == "" {
		return nil, errors.New("empty item; allowed are addresses, interface names, CIDRs and DNS names")
	}
	if a, err := netip.ParseAddr(item); err == nil {
		a = a.Unmap()
		if !a.IsGlobalUnicast() || a.Zone() != "" {
			return nil, errors.New("not an address that other hosts can reach")
		}
		return []netip.Addr{a}, nil
	}
	if strings.Contains(item, "/") {
		p, err := netip.ParsePrefix(item)
		if err != nil {
			return nil, errors.New("not a CIDR, such as 192.0.2.0/24")
		}
		got := own.where(func(a hostAddr) bool { return p.Contains(a.addr) })
		if len(got) == 0 {
			return nil, errors.New("no address of this host is in it")
		}
		return got, nil
	}
	if _, err := net.InterfaceByName(item); err == nil {
		got := own.where(func(a hostAddr) bool { return a.dev == item && a.addr.Is4() })
		if len(got) == 0 {
			got = own.where(func(a hostAddr) bool { return a.dev == item })
		}
		if len(got) == 0 {
			return nil, errors.New("the interface has no address that other hosts can reach")
		}
		return got, nil
	}
	return lookupName(item)
}

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
