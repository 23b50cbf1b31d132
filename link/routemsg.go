package link

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// rtmsg is struct rtmsg of rtnetlink(7) for an IPv4 route in the main table.
func rtmsg(bits int, protocol, scope, kind byte) []byte {
	return []byte{unix.AF_INET, byte(bits), 0, 0, unix.RT_TABLE_MAIN, protocol, scope, kind, 0, 0, 0, 0}
}

// message encodes the change. A new route is added with NLM_F_REPLACE, too: it finds one with our metric or none.
func (c routeChange) message() message {
	m := message{kind: unix.RTM_NEWROUTE, flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE}
	if c.del {
		m = message{kind: unix.RTM_DELROUTE}
	}
	u32 := func(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
	m.body = rtmsg(c.dst.Bits(), RouteProtocol, unix.RT_SCOPE_LINK, unix.RTN_UNICAST)
	m.body = attr(m.body, unix.RTA_DST, c.dst.Addr().AsSlice())
	m.body = attr(m.body, unix.RTA_PRIORITY, u32(RouteMetric))
	m.body = attr(m.body, unix.RTA_OIF, u32(c.row.dev))
	if c.del {
		return m
	}
	if c.row.src.IsValid() {
		m.body = attr(m.body, unix.RTA_PREFSRC, c.row.src.AsSlice())
	}
	if c.row.mtu > 0 {
		m.body = attr(m.body, unix.RTA_METRICS, attr(nil, unix.RTAX_MTU, u32(c.row.mtu)))
	}
	return m
}

// listRoutes lists the routes of our protocol in the main table. The kernel filters if it can (strict checking, 4.20).
func listRoutes(s *socket) (map[netip.Prefix]routeRow, error) {
	var have map[netip.Prefix]routeRow
	req := message{kind: unix.RTM_GETROUTE, body: rtmsg(0, RouteProtocol, 0, 0)}
	err := s.dump(req, func() { have = map[netip.Prefix]routeRow{} }, func(body []byte) {
		if dst, row, ok := parseRoute(body); ok {
			have[dst] = row
		}
	})
	return have, err
}

// parseRoute decodes an entry of the list; ok tells whether it is one of ours.
func parseRoute(b []byte) (dst netip.Prefix, row routeRow, ok bool) {
	if len(b) < unix.SizeofRtMsg || b[0] != unix.AF_INET || b[4] != unix.RT_TABLE_MAIN || b[5] != RouteProtocol {
		return dst, row, false
	}
	to := netip.IPv4Unspecified()
	attrs(b[unix.SizeofRtMsg:], func(kind uint16, v []byte) {
		switch {
		case len(v) == 4 && kind == unix.RTA_DST:
			to = netip.AddrFrom4([4]byte(v))
		case len(v) == 4 && kind == unix.RTA_OIF:
			row.dev = binary.NativeEndian.Uint32(v)
		case len(v) == 4 && kind == unix.RTA_PREFSRC:
			row.src = netip.AddrFrom4([4]byte(v))
		case kind == unix.RTA_METRICS:
			attrs(v, func(kind uint16, v []byte) {
				if kind == unix.RTAX_MTU && len(v) == 4 {
					row.mtu = binary.NativeEndian.Uint32(v)
				}
			})
		}
	})
	dst = netip.PrefixFrom(to, int(b[1]))
	return dst, row, dst.IsValid()
}
