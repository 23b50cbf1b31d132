package xfrm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
)

// What stands where a peer's device is to be made: what a crash has left of ours gives way, what is somebody else's is
// named, and the peer is reached when it is gone.
func TestKernelDeviceInTheWay(t *testing.T) {
	a, b := newHosts(t)
	name := deviceName(b.name, false)
	id := firstIfID(b.name)
	for i, c := range []struct {
		what, where, add string
		theirs           bool
	}{
		{what: "made and not moved", where: a.ns, add: fmt.Sprintf("type xfrm if_id %#x", id)},
		{what: "made with another peer's if_id and not moved", where: a.ns, add: fmt.Sprintf("type xfrm if_id %#x", uint32(link.IfIDBase+0xfffe))},
		{what: "with an if_id out of our range", where: a.ns, add: "type xfrm if_id 7", theirs: true},
		{what: "of another kind", where: a.ns, add: "type bridge", theirs: true},
		{what: "in the router, bound to its SAs", add: fmt.Sprintf("type xfrm if_id %#x", id)},
		{what: "in the router, of another kind", add: "type bridge"},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			none := a.config(b, usual, 0, 0)
			none.Peers = nil
			a.set(none)
			if c.where != "" {
				ip(t, "-n "+c.where+" link add "+name+" "+c.add)
			} else {
				a.must(a.router.Do(func() error { ip(t, "link add "+name+" "+c.add); return nil }))
			}
			base := ipsec.SPI(0x1000 + 16*i)
			b.set(b.config(a, usual, base+1, base))
			err := a.plane.Set(t.Context(), a.config(b, usual, base, base+1))
			if c.theirs {
				if err == nil || !strings.Contains(err.Error(), "the name is in use in the host's namespace") || !strings.Contains(err.Error(), b.name) {
					t.Errorf("error: %v", err)
				}
				ip(t, "-n "+c.where+" link show "+name) // it is still there
				ip(t, "-n "+c.where+" link del "+name)
			} else if err != nil {
				t.Error(err)
			}
			within(t, repairWithin, "whole", func() bool { return whole(t, a, b) })
			if n := a.ping(b, 3, "0.01"); n != 3 {
				t.Errorf("%d of 3 pings answered", n)
			}
		})
	}
}
