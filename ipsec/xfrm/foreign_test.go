package xfrm

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Others' SAs, policies and interfaces on the same host, some of them with numbers of our range, are as before after all
// that a plane does, purge included.
func TestKernelOthersAreUntouched(t *testing.T) {
	a, b := newHosts(t)
	theirs := firstIfID(b.name) // where our search begins
	const algo = " mode tunnel aead rfc4106(gcm(aes)) 0x00112233445566778899aabbccddeeff00112233 128"
	for _, args := range []string{
		"xfrm state add src 192.0.2.1 dst 192.0.2.9 proto esp spi 0x901 reqid 1" + algo,
		"xfrm state add src 192.0.2.9 dst 192.0.2.1 proto esp spi 0x902 reqid 1" + algo,
		fmt.Sprintf("xfrm state add src 192.0.2.1 dst 192.0.2.9 proto esp spi 0x903 reqid 5 if_id %#x%s", theirs+1, algo),
		"xfrm policy add src 10.9.0.0/16 dst 10.8.0.0/16 dir out tmpl src 192.0.2.1 dst 192.0.2.9 proto esp reqid 1 mode tunnel",
		// Docker's encrypted overlay.
		"xfrm state add src 192.0.2.1 dst 192.0.2.9 proto esp spi 0xd0c reqid 13681891 mode transport aead rfc4106(gcm(aes)) 0x00112233445566778899aabbccddeeff00112233 64",
		"xfrm policy add src 192.0.2.1/32 dst 192.0.2.9/32 proto udp dport 4789 dir out mark 0xd0c4e3 tmpl src 192.0.2.1 dst 192.0.2.9 proto esp spi 0xd0c reqid 13681891 mode transport",
		"link add wg0 type wireguard",
		"xfrm policy add src 10.7.0.0/16 dst 10.6.0.0/16 dir out priority 7 action block",
		fmt.Sprintf("xfrm policy add src 10.9.0.0/16 dst 10.8.0.0/16 dir fwd if_id %#x tmpl src 192.0.2.9 dst 192.0.2.1 proto esp reqid 5 mode tunnel", theirs+2),
		fmt.Sprintf("link add xf0 type xfrm if_id %#x", theirs+3),
		"link add xf1 type xfrm dev ul0 if_id 42",
		fmt.Sprintf("link add xf2 type xfrm if_id %#x", theirs),
	} {
		ip(t, "-n "+a.ns+" "+args)
	}
	// The one with our first choice is where nobody sees it.
	ip(t, fmt.Sprintf("-n %s link set xf2 netns %s", a.ns, a.cell))
	look := func() string {
		var all []string
		for _, what := range []string{"xfrm state", "xfrm policy", "-o link show type xfrm", "-o link show type wireguard"} {
			all = append(all, strings.Split(ip(t, "-n "+a.ns+" "+what), "\n")...)
		}
		slices.Sort(all) // the order is not anybody's
		return strings.Join(all, "\n")
	}
	before := look()
	join(a, b, usual, 0x1000)
	if n := a.ping(b, 3, "0.01"); n != 3 {
		t.Errorf("%d of 3 pings answered", n)
	}
	id := a.inventory().Devices[deviceName(b.name, false)].IfID
	if id >= theirs && id <= theirs+3 {
		t.Errorf("if_id %#x is somebody else's", id)
	}
	ip(t, fmt.Sprintf("-n %s xfrm policy delete src 0.0.0.0/0 dst 0.0.0.0/0 dir fwd if_id %#x", a.ns, id))
	within(t, repairWithin, "repaired", func() bool { return whole(t, a, b) })
	a.stop()
	a.start()
	join(a, b, usual, 0x2000)
	a.stop()
	a.must(Purge(a.router))
	if after := look(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	k, err := openKernel(a.router)
	a.must(err)
	defer func() { a.must(k.close()) }()
	inv, err := k.list()
	a.must(err)
	if len(inv.Devices)+len(inv.Strays)+len(inv.States)+len(inv.Policies) > 0 {
		t.Errorf("purge left %v", inv.world)
	}
	if !strings.Contains(ip(t, "-n "+a.cell+" link show type xfrm"), "xf2") {
		t.Error("the interface in the container is gone")
	}
}
