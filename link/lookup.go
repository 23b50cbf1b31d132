package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
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

// setAddrs makes want the only IPv4 address on l that bears the label.
func setAddrs(h *netlink.Handle, l netlink.Link, want netip.Prefix, label string) error {
	have, err := list(func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_V4) })
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	found := false
	var errs []error
	for _, a := range have {
		switch {
		case a.Label != label:
		case fromIPNet(a.IPNet) == want:
			found = true
		default:
			errs = append(errs, h.AddrDel(l, &a))
		}
	}
	if !found {
		errs = append(errs, h.AddrAdd(l, &netlink.Addr{IPNet: toIPNet(want), Label: label}))
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
