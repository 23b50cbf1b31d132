package link

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// orphanFor is how long a router end that no SetPorts wants is kept. A container that is just being started may have
// its pair before the facts that SetPorts was computed from name it.
const orphanFor = time.Minute

// SetPorts repairs the router's ends of the pairs that are there: allowed to send as their endpoint and as nobody else, back
// into their bridge, up, with their MTU. It makes none: a pair is made for Docker, by AddVeth. Ends of ours that no call
// wants may send nothing, and are deleted after a minute. If the source guard can't be set, nothing else is done.
func (r *Router) SetPorts(want []Veth) error {
	r.links.Lock()
	defer r.links.Unlock()
	have, err := list(r.nl.LinkList)
	if err != nil {
		return fmt.Errorf("list router links: %w", err)
	}
	links := map[string]netlink.Link{}
	for _, l := range have {
		links[l.Attrs().Name] = l
	}
	allowed, err := r.wantedSources(want, links)
	errs := []error{err}
	if err := r.setSources(allowed); err != nil {
		return errors.Join(append(errs, err)...)
	}
	f, err := r.forwarding()
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	wanted := map[string]bool{}
	for _, v := range want {
		wanted[v.RouterEnd] = true
		port, bridge := links[v.RouterEnd], links[v.Bridge]
		if _, ok := allowed[v.RouterEnd]; !ok || port.Type() != "veth" {
			continue
		}
		if bridge == nil {
			errs = append(errs, fmt.Errorf("veth %s: bridge %s is not there", v.RouterEnd, v.Bridge))
			continue
		}
		if err := r.convergePort(port, bridge, v, f); err != nil && !isGone(err) {
			errs = append(errs, fmt.Errorf("veth %s: %w", v.RouterEnd, err))
		}
	}
	return errors.Join(append(errs, r.sweep(links, wanted))...)
}

// wantedSources gives what the pairs that are there may send as. Needs the lock.
func (r *Router) wantedSources(want []Veth, links map[string]netlink.Link) (map[string]source, error) {
	allowed := map[string]source{}
	var errs []error
	for _, v := range want {
		if links[v.RouterEnd] == nil {
			continue
		}
		s, err := newSource(v)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		allowed[v.RouterEnd] = s
		delete(r.joined, v.RouterEnd)
	}
	for port, s := range r.joined {
		if links[port] == nil {
			delete(r.joined, port)
			continue
		}
		allowed[port] = s
	}
	return allowed, errors.Join(errs...)
}

// sweep deletes the router ends that have not been wanted for a minute. Needs the lock.
func (r *Router) sweep(links map[string]netlink.Link, wanted map[string]bool) error {
	now := r.now()
	for name := range r.orphan {
		if links[name] == nil || wanted[name] {
			delete(r.orphan, name)
		}
	}
	var errs []error
	for name, l := range links {
		if !ours(name, PortPrefix) || l.Type() != "veth" || wanted[name] {
			continue
		}
		since, seen := r.orphan[name]
		if !seen {
			r.orphan[name] = now
			continue
		}
		if now.Sub(since) < orphanFor {
			continue
		}
		if err := remove(r.nl, l); err != nil {
			errs = append(errs, fmt.Errorf("delete veth %s: %w", name, err))
			continue
		}
		delete(r.orphan, name)
	}
	return errors.Join(errs...)
}

// Veths lists the router ends that are there.
func (r *Router) Veths() ([]string, error) {
	have, err := list(r.nl.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list router links: %w", err)
	}
	var names []string
	for _, l := range have {
		if l.Type() == "veth" && ours(l.Attrs().Name, PortPrefix) {
			names = append(names, l.Attrs().Name)
		}
	}
	return names, nil
}

// SetTunnel sets a tunnel device that is already in the router namespace up, with its MTU and the largest GSO packet
// that the kernel may hand to it (bytes; 0 leaves it as it is).
func (r *Router) SetTunnel(name string, mtu, gsoMax int) error {
	r.links.Lock()
	defer r.links.Unlock()
	if name != TunName && !ours(name, TunnelPrefix) {
		return fmt.Errorf("tunnel %s: not a name of ours", name)
	}
	l, err := r.nl.LinkByName(name)
	if err != nil {
		return fmt.Errorf("tunnel %s: %w", name, err)
	}
	attrs := l.Attrs()
	var errs []error
	if attrs.MTU != mtu {
		errs = append(errs, r.nl.LinkSetMTU(l, mtu))
	}
	if gsoMax > 0 && attrs.GSOMaxSize != uint32(gsoMax) {
		errs = append(errs, r.nl.LinkSetGSOMaxSize(l, gsoMax))
	}
	// IPv4 has a limit of its own since Linux 6.3 (IFLA_GSO_IPV4_MAX_SIZE); before that the one above holds for both.
	if gsoMax > 0 && attrs.GSOIPv4MaxSize != 0 && attrs.GSOIPv4MaxSize != uint32(gsoMax) {
		errs = append(errs, r.nl.LinkSetGSOIPv4MaxSize(l, gsoMax))
	}
	if attrs.RawFlags&unix.IFF_UP == 0 {
		errs = append(errs, r.nl.LinkSetUp(l))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("tunnel %s: %w", name, err)
	}
	return nil
}

// isGone reports that the link has vanished, between finding and using it.
func isGone(err error) bool {
	_, missing := errors.AsType[netlink.LinkNotFoundError](err)
	return missing || errors.Is(err, unix.ENODEV)
}
