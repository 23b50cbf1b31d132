package link

import (
	"net/netip"
	"slices"
	"strings"
)

// Moved says whether this host has other addresses than those that ADVERTISE was resolved to: the default route's is another
// one, or one of the others is on no link any more. Nothing has moved as long as there is nothing to move to.
func Moved(advertise string, addrs []netip.Addr) (bool, error) {
	if strings.TrimSpace(advertise) == "" {
		addr, _, _, err := DefaultAddr()
		return err == nil && !slices.Equal(addrs, []netip.Addr{addr}), err
	}
	own, err := ownAddrs()
	if err != nil {
		return false, err
	}
	gone := func(a netip.Addr) bool {
		return !slices.ContainsFunc(own, func(o hostAddr) bool { return o.addr == a })
	}
	if !slices.ContainsFunc(addrs, gone) {
		return false, nil
	}
	now, err := ResolveAdvertise(advertise)
	return err == nil && !slices.Equal(addrs, now.Addrs), err
}
