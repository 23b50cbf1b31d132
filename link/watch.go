package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// watchEvery bounds how often Watch calls: others' changes are rare, and our own are seen, too.
const watchEvery = time.Second

// Watch calls fn soon after somebody, perhaps we, has changed or deleted something of ours: a table flushed by a firewall
// that reloads, a bridge or tunnel set down, a route deleted. At most once a second. It hints that the Set functions may
// find work; it does not replace calling them now and then. It returns nil when ctx ends.
func (r *Router) Watch(ctx context.Context, fn func()) error {
	var sockets []*socket
	defer func() {
		for _, s := range sockets {
			_ = s.close()
		}
	}()
	for _, w := range []struct {
		ns     netns.NsHandle
		family int
		groups []int
	}{
		{r.hostNS, unix.NETLINK_NETFILTER, []int{unix.NFNLGRP_NFTABLES}},
		{r.ns, unix.NETLINK_NETFILTER, []int{unix.NFNLGRP_NFTABLES}},
		{r.ns, unix.NETLINK_ROUTE, []int{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE}},
	} {
		s, err := subscribe(w.ns, w.family, w.groups)
		if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		sockets = append(sockets, s)
	}
	wake, release, err := wakeAt(ctx)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer release()
	return watchLoop(ctx, sockets, wake, r.watchEvery, fn)
}

func watchLoop(ctx context.Context, sockets []*socket, wake int, every time.Duration, fn func()) error {
	fds := []unix.PollFd{{Fd: int32(wake), Events: unix.POLLIN}}
	for _, s := range sockets {
		fds = append(fds, unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN})
	}
	pending, last := false, time.Time{}
	for {
		wait := -1
		if pending {
			wait = int(max(0, every-time.Since(last)) / time.Millisecond)
		}
		n, err := unix.Poll(fds, wait)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("watch: %w", err)
		}
		for i, s := range sockets {
			if n <= 0 || fds[i+1].Revents == 0 {
				continue
			}
			err := s.receive(func(kind, _ uint16, _ uint32, body []byte) error {
				pending = pending || concerns(kind, body)
				return nil
			})
			// What did not fit into the buffer may have been ours.
			pending = pending || errors.Is(err, unix.ENOBUFS)
		}
		if pending && time.Since(last) >= every {
			pending, last = false, time.Now()
			fn()
		}
	}
}

// concerns tells whether a notification is of something of ours that may need repair.
func concerns(kind uint16, body []byte) bool {
	if kind>>8 == unix.NFNL_SUBSYS_NFTABLES {
		return len(body) >= 4 && named(body[4:], unix.NFTA_TABLE_NAME, func(name string) bool { return name == NftTable })
	}
	switch kind {
	case unix.RTM_DELROUTE:
		_, _, mine := parseRoute(body)
		return mine
	case unix.RTM_DELADDR:
		return true
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if len(body) < unix.SizeofIfInfomsg {
			return false
		}
		// ifi_change has the flags that have changed, all of them for a link that is new: that is no harm, even if it is not
		// up yet, and a thousand of our own would otherwise be reported one by one.
		flags, change := binary.NativeEndian.Uint32(body[8:]), binary.NativeEndian.Uint32(body[12:])
		downed := flags&unix.IFF_UP == 0 && change&unix.IFF_UP != 0 && change != ^uint32(0)
		return (kind == unix.RTM_DELLINK || downed) && named(body[unix.SizeofIfInfomsg:], unix.IFLA_IFNAME, func(name string) bool {
			return ours(name, BridgePrefix, PortPrefix, TunnelPrefix, TunName)
		})
	}
	return false
}

// named tells whether the string attribute of that kind is one that fits.
func named(b []byte, kind uint16, fits func(string) bool) (found bool) {
	attrs(b, func(k uint16, v []byte) {
		if k == kind {
			found = fits(string(bytes.TrimRight(v, "\x00")))
		}
	})
	return found
}
