package link

import (
	"context"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func TestWatch(t *testing.T) {
	w := newWorld(t)
	w.r.watchEvery = time.Millisecond
	b := bridgeOf("default", "10.42.0.0/16")
	ok(t, w.r.SetGuard([]netip.Prefix{b.Pool}))
	ok(t, w.r.SetFilter(Filter{}))
	ok(t, w.r.SetBridges([]Bridge{b}))
	w.tunnel()
	ok(t, w.r.SetRoutes([]Route{{Dst: netip.MustParsePrefix("10.42.128.2/32"), Dev: TunName}}))
	flush := func(ns netns.NsHandle) func() error {
		return func() error {
			nft := must(nftables.New(nftables.WithNetNSFd(int(ns))))(t)
			nft.FlushRuleset()
			return nft.Flush()
		}
	}
	route := routeTo(t, "10.42.128.2/32")
	route.Priority, route.Scope = RouteMetric, netlink.SCOPE_LINK
	for _, harm := range []struct {
		name string
		do   func() error
	}{
		{"guard flushed", flush(w.host)},
		{"filter flushed", flush(w.r.ns)},
		{"route deleted", func() error { return w.r.nl.RouteDel(&route) }},
		{"tunnel down", func() error { return w.r.nl.LinkSetDown(must(w.r.nl.LinkByName(TunName))(t)) }},
		{"address deleted", func() error {
			return w.r.nl.AddrDel(must(w.r.nl.LinkByName(b.Name))(t), must(netlink.ParseAddr("10.42.0.1/16"))(t))
		}},
		{"bridge deleted", func() error { return w.r.nl.LinkDel(must(w.r.nl.LinkByName(b.Name))(t)) }},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		called, ended := make(chan struct{}, 64), make(chan error, 1)
		go func() { ended <- w.r.Watch(ctx, func() { called <- struct{}{} }) }()
		eventuallyCalled(t, w, called)
		ok(t, harm.do())
		select {
		case <-called:
		case <-time.After(patience):
			t.Errorf("%s: not heard of", harm.name)
		}
		cancel()
		ok(t, <-ended)
	}
}

// eventuallyCalled waits until a Watch is listening.
func eventuallyCalled(t *testing.T, w *world, called chan struct{}) {
	t.Helper()
	lo := must(w.r.nl.LinkByName("lo"))(t)
	a := must(netlink.ParseAddr("192.0.2.77/32"))(t)
	eventually(t, "Watch listens", func() bool {
		ok(t, w.r.nl.AddrAdd(lo, a))
		ok(t, w.r.nl.AddrDel(lo, a))
		select {
		case <-called:
			return true
		default:
			return false
		}
	})
	// What is still on the way is not the harm's.
	for {
		select {
		case <-called:
		case <-time.After(silence):
			return
		}
	}
}

// What the kernel sends to a group is heard from the host's namespace, and nothing of other groups.
func TestHostNotices(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	heard, ended := make(chan string, 1024), make(chan error, 1)
	go func() {
		ended <- w.r.HostNotices(ctx, unix.NETLINK_ROUTE, []int{unix.RTNLGRP_LINK}, func(kind uint16, body []byte) {
			if kind != unix.RTM_NEWLINK && kind != unix.RTM_DELLINK {
				t.Errorf("message %d", kind)
			}
			named(body[unix.SizeofIfInfomsg:], unix.IFLA_IFNAME, func(name string) bool {
				select {
				case heard <- name:
				default:
				}
				return false
			})
		})
	}()
	dummy := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "heard"}, PeerName: "heard-too"}
	for seen := false; !seen; { // it may not listen yet
		ok(t, w.r.hostNL.LinkAdd(dummy))
		ok(t, w.r.hostNL.LinkDel(dummy))
		select {
		case name := <-heard:
			seen = name == "heard"
		case <-time.After(50 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("not heard of")
		}
	}
	cancel()
	ok(t, <-ended)
	if err := w.r.HostNotices(t.Context(), unix.NETLINK_ROUTE, []int{9999}, nil); err == nil {
		t.Error("a group that does not exist")
	}
}

func TestConcernsTakesAnything(t *testing.T) {
	for kind := range uint16(0x0a20) {
		for n := range 40 {
			concerns(kind, make([]byte, n))
		}
	}
	if concerns(0x0a00, append([]byte{1, 0, 0, 0}, attr(nil, 1, []byte("docker\x00"))...)) {
		t.Error("a foreign table concerns us")
	}
}

// A link that is new is no harm; one of ours that was set down or deleted is.
func TestWhichLinksConcern(t *testing.T) {
	for _, c := range []struct {
		name          string
		kind          uint16
		flags, change uint32
		want          bool
	}{
		{TunnelPrefix + "1a2b3c4d", unix.RTM_NEWLINK, 0, ^uint32(0), false},
		{TunnelPrefix + "1a2b3c4d", unix.RTM_NEWLINK, 0, 0, false},
		{TunnelPrefix + "1a2b3c4d", unix.RTM_NEWLINK, unix.IFF_UP, unix.IFF_UP, false},
		{TunnelPrefix + "1a2b3c4d", unix.RTM_NEWLINK, 0, unix.IFF_UP | unix.IFF_RUNNING, true},
		{TunnelPrefix + "1a2b3c4d", unix.RTM_DELLINK, 0, ^uint32(0), true},
		{"eth0", unix.RTM_NEWLINK, 0, unix.IFF_UP, false},
		{"eth0", unix.RTM_DELLINK, 0, ^uint32(0), false},
	} {
		body := make([]byte, 8)
		body = binary.NativeEndian.AppendUint32(body, c.flags)
		body = binary.NativeEndian.AppendUint32(body, c.change)
		body = attr(body, unix.IFLA_IFNAME, append([]byte(c.name), 0))
		if got := concerns(c.kind, body); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
