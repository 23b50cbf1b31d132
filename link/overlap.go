package link

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// resolvConf is where the nameservers are.
const resolvConf = "/etc/resolv.conf"

// HostOverlap names what of this host a pool would hide, or be hidden by: a route of the calling thread's namespace (the
// networks of its links among them, default routes not) or a nameserver. "" if there is nothing.
func HostOverlap(p netip.Prefix) (what string, err error) {
	if what, err = routeOverlap(p); what != "" || err != nil {
		return what, err
	}
	return nameserverOverlap(p, resolvConf)
}

func routeOverlap(p netip.Prefix) (string, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return "", fmt.Errorf("host routes: %w", err)
	}
	defer h.Close()
	family := netlink.FAMILY_V4
	if p.Addr().Is6() {
		family = netlink.FAMILY_V6
	}
	routes, err := list(func() ([]netlink.Route, error) { return h.RouteList(nil, family) })
	if err != nil {
		return "", fmt.Errorf("host routes: %w", err)
	}
	for _, r := range routes {
		dst := fromIPNet(r.Dst)
		if !dst.IsValid() || dst.Bits() == 0 || !dst.Overlaps(p) {
			continue
		}
		what := "route " + dst.String()
		if l, err := h.LinkByIndex(r.LinkIndex); err == nil {
			what += " dev " + l.Attrs().Name
		}
		return what, nil
	}
	return "", nil
}

// nameserverOverlap reads a resolv.conf(5); a missing one has no nameservers.
func nameserverOverlap(p netip.Prefix, file string) (string, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("nameservers: %w", err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil && p.Contains(a.Unmap()) {
			return "nameserver " + words[1], nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("nameservers: %w", err)
	}
	return "", nil
}
