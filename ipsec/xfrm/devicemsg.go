package xfrm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/link"
)

// Devices as rtnetlink(7) messages.

const (
	kindXfrm = "xfrm"
	// ipv4ConfRPFilter is IPV4_DEVCONF_RP_FILTER (linux/ip.h), counted from 1.
	ipv4ConfRPFilter = 8
	strictFilter     = 1
	// carrierErrors is the place of tx_carrier_errors in struct rtnl_link_stats64, where an xfrm interface counts packets
	// that it has no policy or SA for.
	carrierErrors = 17
)

// ifinfo is a struct ifinfomsg, with the name.
func ifinfo(name string, flags, change uint32) []byte {
	b := make([]byte, 8, 256)
	b = binary.NativeEndian.AppendUint32(b, flags)
	b = binary.NativeEndian.AppendUint32(b, change)
	if name != "" {
		b = link.Attr(b, unix.IFLA_IFNAME, append([]byte(name), 0))
	}
	return b
}

func linkInfo(data []byte) []byte {
	b := link.Attr(nil, unix.IFLA_INFO_KIND, []byte(kindXfrm))
	if data != nil {
		b = link.Attr(b, unix.IFLA_INFO_DATA, data)
	}
	return b
}

// create makes the device where the socket is, down.
func (d device) create() link.Message {
	b := link.Attr(ifinfo(d.Name, 0, 0), unix.IFLA_MTU, u32(uint32(d.MTU)))
	b = link.Attr(b, unix.IFLA_LINKINFO, linkInfo(link.Attr(nil, nl.IFLA_XFRM_IF_ID, u32(d.IfID))))
	return link.Message{Kind: unix.RTM_NEWLINK, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, Body: b}
}

// move sends it into the namespace that is open as fd, and sets it up there (net/core/rtnetlink.c, do_setlink: in this order).
func (d device) move(fd uintptr) link.Message {
	m := d.set()
	m.Body = link.Attr(m.Body, unix.IFLA_NET_NS_FD, u32(uint32(fd)))
	return m
}

// set sets MTU and strict reverse-path filter, and the device up. The filter goes this way because a plugin sees
// /proc/sys read-only.
func (d device) set() link.Message {
	b := link.Attr(ifinfo(d.Name, unix.IFF_UP, unix.IFF_UP), unix.IFLA_MTU, u32(uint32(d.MTU)))
	conf := link.Attr(nil, ipv4ConfRPFilter, u32(strictFilter))
	b = link.Attr(b, unix.IFLA_AF_SPEC, link.Attr(nil, unix.AF_INET, link.Attr(nil, unix.IFLA_INET_CONF, conf)))
	return link.Message{Kind: unix.RTM_SETLINK, Body: b}
}

func (d device) del() link.Message {
	return link.Message{Kind: unix.RTM_DELLINK, Body: ifinfo(d.Name, 0, 0)}
}

// listedDevice is an xfrm interface of anybody's.
type listedDevice struct {
	device
	plain    bool  // bound to no other device, and carries one if_id
	home     int32 // the namespace whose SAs it uses, as the lister's namespace numbers it; -1: the one that it is in
	unsealed uint64
	received uint64
}

func parseDevice(b []byte) (d listedDevice, ok bool) {
	if len(b) < unix.SizeofIfInfomsg {
		return d, false
	}
	d.Up = binary.NativeEndian.Uint32(b[8:])&unix.IFF_UP != 0
	d.home, d.plain = -1, true
	link.Attrs(b[unix.SizeofIfInfomsg:], func(kind uint16, v []byte) {
		switch {
		case kind == unix.IFLA_IFNAME:
			d.Name = string(bytes.TrimRight(v, "\x00"))
		case kind == unix.IFLA_MTU && len(v) == 4:
			d.MTU = int(binary.NativeEndian.Uint32(v))
		case kind == unix.IFLA_LINK_NETNSID && len(v) == 4:
			d.home = int32(binary.NativeEndian.Uint32(v))
		case kind == unix.IFLA_STATS64 && len(v) >= 8*(carrierErrors+1):
			d.received = binary.NativeEndian.Uint64(v)
			d.unsealed = binary.NativeEndian.Uint64(v[8*carrierErrors:])
		case kind == unix.IFLA_AF_SPEC:
			d.Strict = parseStrict(v)
		case kind == unix.IFLA_LINKINFO:
			ok = d.parseInfo(v)
		}
	})
	return d, ok
}

// parseInfo says whether it is an xfrm interface.
func (d *listedDevice) parseInfo(v []byte) (xfrm bool) {
	link.Attrs(v, func(kind uint16, v []byte) {
		switch kind {
		case unix.IFLA_INFO_KIND:
			xfrm = string(bytes.TrimRight(v, "\x00")) == kindXfrm
		case unix.IFLA_INFO_DATA:
			link.Attrs(v, func(kind uint16, v []byte) {
				switch {
				case kind == nl.IFLA_XFRM_IF_ID && len(v) == 4:
					d.IfID = binary.NativeEndian.Uint32(v)
				case kind == nl.IFLA_XFRM_LINK && len(v) == 4:
					d.plain = d.plain && binary.NativeEndian.Uint32(v) == 0
				case kind > nl.IFLA_XFRM_IF_ID: // IFLA_XFRM_COLLECT_METADATA: many if_ids
					d.plain = false
				}
			})
		}
	})
	return xfrm
}

// parseStrict finds the device's own reverse-path filter.
func parseStrict(v []byte) (strict bool) {
	link.Attrs(v, func(kind uint16, v []byte) {
		if kind != unix.AF_INET {
			return
		}
		link.Attrs(v, func(kind uint16, v []byte) {
			if kind == unix.IFLA_INET_CONF && len(v) >= 4*ipv4ConfRPFilter {
				strict = binary.NativeEndian.Uint32(v[4*(ipv4ConfRPFilter-1):]) == strictFilter
			}
		})
	})
	return strict
}

// listXfrm lists the xfrm interfaces of a namespace. The kernel leaves the other links out.
func listXfrm(n *link.Netlink) (devs []listedDevice, err error) {
	body := link.Attr(ifinfo("", 0, 0), unix.IFLA_LINKINFO, linkInfo(nil))
	err = n.Dump(link.Message{Kind: unix.RTM_GETLINK, Body: body}, func() { devs = nil }, func(b []byte) {
		if d, ok := parseDevice(b); ok {
			devs = append(devs, d)
		}
	})
	return devs, err
}

// listDevices lists ours in the router, strays of ours in the host, and the if_ids of others.
func (k *netlinkKernel) listDevices(inv *inventory) error {
	var routers, hosts []listedDevice
	home := int32(-1)
	err := errors.Join(
		with(k.Netlink, unix.NETLINK_ROUTE, func(n *link.Netlink) (err error) {
			if routers, err = listXfrm(n); err != nil {
				return err
			}
			home, err = namespaceID(n, k.host.Fd())
			return err
		}),
		with(k.HostNetlink, unix.NETLINK_ROUTE, func(n *link.Netlink) (err error) {
			hosts, err = listXfrm(n)
			return err
		}))
	if err != nil {
		return fmt.Errorf("list xfrm interfaces: %w", err)
	}
	for _, d := range routers {
		if !strings.HasPrefix(d.Name, link.TunnelPrefix) {
			inv.foreign[d.IfID] = "interface " + d.Name
			continue
		}
		inv.unsealed[d.Name] = d.unsealed
		if !d.plain || d.home < 0 || d.home != home || !inRange(d.IfID) {
			d.IfID = 0
		}
		inv.Devices[d.Name] = d.device
	}
	for _, d := range hosts {
		if strings.HasPrefix(d.Name, link.TunnelPrefix) && inRange(d.IfID) {
			inv.Strays[d.Name] = d.device
		} else {
			inv.foreign[d.IfID] = "interface " + d.Name
		}
	}
	return nil
}

// namespaceID is by what number links of the socket's namespace name the one that is open as fd; -1: by none.
func namespaceID(n *link.Netlink, fd uintptr) (int32, error) {
	id := int32(-1)
	var failed error
	body := link.Attr(make([]byte, 4), unix.NETNSA_FD, u32(uint32(fd)))
	err := n.Query([]link.Message{{Kind: unix.RTM_GETNSID, Body: body}}, func(_ int, b []byte) {
		link.Attrs(b[4:], func(kind uint16, v []byte) {
			if kind == unix.NETNSA_NSID && len(v) == 4 {
				id = int32(binary.NativeEndian.Uint32(v))
			}
		})
	}, func(_ int, err error) { failed = err })
	return id, errors.Join(err, failed)
}
