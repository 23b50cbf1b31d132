package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// listTries bounds how often a list is fetched that the kernel says has changed while it was being read.
const listTries = 10

// list repeats a dump until the kernel gives it in one piece.
func list[T any](dump func() ([]T, error)) ([]T, error) {
	var got []T
	var err error
	for range listTries {
		got, err = dump()
		if !errors.Is(err, netlink.ErrDumpInterrupted) && !errors.Is(err, unix.EINTR) {
			return got, err
		}
	}
	return nil, err
}

// find gives the link of that name, nil if there is none.
func find(h *netlink.Handle, name string) (netlink.Link, error) {
	l, err := h.LinkByName(name)
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("link %s: %w", name, err)
	}
	return l, nil
}

// setAddrs makes these the only IPv4 addresses on l that bear the label.
func setAddrs(h *netlink.Handle, l netlink.Link, label string, want ...netlink.Addr) error {
	have, err := list(func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_V4) })
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	same := func(a, b netlink.Addr) bool { return fromIPNet(a.IPNet) == fromIPNet(b.IPNet) }
	var errs []error
	for _, a := range have {
		if a.Label == label && !slices.ContainsFunc(want, func(w netlink.Addr) bool { return same(a, w) }) {
			errs = append(errs, h.AddrDel(l, &a))
		}
	}
	for _, w := range want {
		if !slices.ContainsFunc(have, func(a netlink.Addr) bool { return a.Label == label && same(a, w) }) {
			w.Label = label
			errs = append(errs, h.AddrAdd(l, &w))
		}
	}
	return errors.Join(errs...)
}

// toIPNet keeps the host's bits.
func toIPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// fromIPNet keeps the host's bits; the zero Prefix for nil.
func fromIPNet(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	addr, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), ones)
}

// ours tells whether a name has one of the prefixes.
func ours(name string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}
