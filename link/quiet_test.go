package link

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// watch is a socket that hears of every change in a namespace.
type watch struct {
	name string
	fd   int
}

// watches opens sockets for links, addresses, routes, neighbours, per-link settings and nftables.
func (w *world) watches() []watch {
	var out []watch
	for name, ns := range map[string]netns.NsHandle{"host": w.host, "router": w.r.ns} {
		for family, groups := range map[int][]int{
			unix.NETLINK_ROUTE:     {unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_NEIGH, unix.RTNLGRP_IPV4_NETCONF},
			unix.NETLINK_NETFILTER: {unix.NFNLGRP_NFTABLES},
		} {
			s, err := openSocket(ns, family)
			ok(w.t, err)
			for _, g := range groups {
				ok(w.t, unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g))
			}
			out = append(out, watch{name, s.fd})
		}
	}
	return out
}

// heard returns the kinds of messages that come until there are none for a while (milliseconds).
func heard(watches []watch, wait int) (kinds []string) {
	fds := make([]unix.PollFd, len(watches))
	for i, w := range watches {
		fds[i] = unix.PollFd{Fd: int32(w.fd), Events: unix.POLLIN}
	}
	s := &socket{buf: make([]byte, 64<<10)}
	for {
		n, err := unix.Poll(fds, wait)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return kinds
		}
		for i, f := range fds {
			if f.Revents == 0 {
				continue
			}
			s.fd = watches[i].fd
			_ = s.receive(func(kind, _ uint16, _ uint32, body []byte) error {
				kinds = append(kinds, fmt.Sprintf("%s:%#x(%d bytes)", watches[i].name, kind, len(body)))
				return nil
			})
		}
	}
}

// quiet fails the test if fn changes anything in the host's or the router's namespace.
func (w *world) quiet(what string, fn func() error) {
	w.t.Helper()
	watches := w.watches()
	defer func() {
		for _, x := range watches {
			_ = unix.Close(x.fd)
		}
	}()
	heard(watches, 100) // a bridge that has just come up reports a while
	ok(w.t, fn())
	if got := heard(watches, 20); len(got) > 0 {
		w.t.Errorf("%s changed something: %s", what, strings.Join(got, ", "))
	}
}

func TestQuietHears(t *testing.T) {
	w := newWorld(t)
	watches := w.watches()
	ok(t, w.r.SetAddr(addr("100.127.0.1")))
	if len(heard(watches, 20)) == 0 {
		t.Error("a new address was not heard of: the tests for doing nothing prove nothing")
	}
}
