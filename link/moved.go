package link

import (
	"net/netip"
	"slices"
	"strings"
)

// Moved says whether this host has other addresses than those that ADVERTISE was resolved to: one of them is on no link any more,
// or, where ADVERTISE is empty, not on the default route's. Nothing has moved as long as there is nothing to move to. A
// second address on the same link, such as a temporary one (RFC 8981), is no move.
func Moved(advertise string, addrs []netip.Addr) (bool, error) {
	own, err := ownAddrs()
	if err != nil {
		return false, err
	}
	dev := ""
	if strings.TrimSpace(advertise) == "" {
		if _, dev, _, err = DefaultAddr(); err != nil {
			return false, err
		}
	}
	gone := func(a netip.Addr) bool {
		return !slices.ContainsFunc(own, func(o hostAddr) bool { return o.addr == a && (dev == "" || o.dev == dev) })
	}
	if !slices.ContainsFunc(addrs, gone) {
		return false, nil
	}
	now, err := ResolveAdvertise(advertise)
	return err == nil && !slices.Equal(addrs, now.Addrs), err
}
