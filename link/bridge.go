package link

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
)

// Bridge is a network's bridge in the router namespace. It has the gateway's address, where there are
// services theirs, and answers ARP for every address
// that is routed into a tunnel.
type Bridge struct {
	Network string           // for messages only
	Name    string           // as BridgeName gives it
	Pool    netip.Prefix     // on-link on the bridge, so that what has no route of its own gets no proxy ARP answer
	Gateway netip.Addr       // within Pool
	MAC     net.HardwareAddr // the same on every host
	MTU     int
}

// freshFor is how long a bridge of EnsureBridge is kept though SetBridges, computed from older facts, lacks it.
const freshFor = time.Minute

// freshBridge is a bridge of EnsureBridge that no SetBridges has named yet.
type freshBridge struct {
	Bridge
	since time.Time
}

// SetBridges makes these the bridges of the router namespace: makes, repairs, and deletes those of ours that are not
// wanted.
func (r *Router) SetBridges(want []Bridge) error {
	r.links.Lock()
	defer r.links.Unlock()
	wanted := map[string]bool{}
	var errs []error
	for _, b := range want {
		wanted[b.Name] = true
		delete(r.fresh, b.Name)
		errs = append(errs, r.setBridge(b))
	}
	have, err := list(r.nl.LinkList)
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("list router links: %w", err))...)
	}
	for _, l := range have {
		name := l.Attrs().Name
		if l.Type() != "bridge" || !ours(name, BridgePrefix) || wanted[name] || r.isFresh(name) {
			continue
		}
		if err := r.nl.LinkDel(l); err != nil {
			errs = append(errs, fmt.Errorf("delete bridge %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// EnsureBridge makes or repairs one bridge without touching the others, and before that shuts the host's namespace for
// its pool. It is for calls that can't wait for the reconciler: after it, AddVeth works. A SetBridges or SetGuard that
// does not know of it yet leaves both alone for a minute.
func (r *Router) EnsureBridge(b Bridge) error {
	r.links.Lock()
	defer r.links.Unlock()
	r.fresh[b.Name] = freshBridge{Bridge: b, since: r.now()}
	if err := r.addGuard(b.Pool); err != nil {
		return err
	}
	return r.setBridge(b)
}

func (r *Router) isFresh(name string) bool {
	b, ok := r.fresh[name]
	if ok && r.now().Sub(b.since) > freshFor {
		delete(r.fresh, name)
		return false
	}
	return ok
}

// setBridge makes or repairs one bridge. Needs the lock.
func (r *Router) setBridge(b Bridge) error {
	if err := r.convergeBridge(b); err != nil {
		return fmt.Errorf("bridge %s of network %s: %w", b.Name, b.Network, err)
	}
	return nil
}

func (r *Router) convergeBridge(b Bridge) error {
	if !ours(b.Name, BridgePrefix) || !b.Gateway.Is4() || !b.Pool.Contains(b.Gateway) {
		return fmt.Errorf("not a bridge of ours: gateway %s, pool %s", b.Gateway, b.Pool)
	}
	l, err := find(r.nl, b.Name)
	if err != nil {
		return err
	}
	if l != nil && l.Type() != "bridge" {
		return fmt.Errorf("a %s link has its name", l.Type())
	}
	if l == nil {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.HardwareAddr = b.Name, b.MTU, b.MAC
		off := false
		// Multicast snooping without a querier would drop what containers send to groups that it has not seen joined.
		if err := r.nl.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &off}); err != nil {
			return err
		}
		if l, err = r.nl.LinkByName(b.Name); err != nil {
			return err
		}
	}
	var errs []error
	attrs := l.Attrs()
	if attrs.MTU != b.MTU {
		errs = append(errs, r.nl.LinkSetMTU(l, b.MTU))
	}
	if !bytes.Equal(attrs.HardwareAddr, b.MAC) {
		errs = append(errs, r.nl.LinkSetHardwareAddr(l, b.MAC))
	}
	errs = append(errs, r.Do(func() error { return r.setBridgeSysctls(b.Name) }))
	errs = append(errs, setAddrs(r.nl, l, b.Name, r.addrs(b)...))
	if attrs.Flags&net.FlagUp == 0 {
		errs = append(errs, r.nl.LinkSetUp(l))
	}
	return errors.Join(errs...)
}
