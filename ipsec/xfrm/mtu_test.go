package xfrm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/ipsec"
)

// A packet that may not be fragmented and is too big, for the far side or already for the route to the peer, is answered
// with the size that fits, by the router that could not forward it.
func TestKernelTooBigIsTold(t *testing.T) {
	for _, encap := range []ipsec.Encap{ipsec.EncapUDP, ipsec.EncapESP} {
		t.Run(string(encap), func(t *testing.T) {
			a, b := newHosts(t)
			p := pair{encap, ipsec.AES256GCM}
			join(a, b, p, 0x1000)
			told := func(by, mtu string) {
				t.Helper()
				out, _ := a.exec(a.cell, fmt.Sprintf("ping -n -c 1 -W 2 -M do -s %d %s", 1438-28, b.container))
				if !strings.Contains(out, "From "+by) || !strings.Contains(strings.ReplaceAll(out, " ", ""), "mtu="+mtu) {
					t.Errorf("not told by %s that %s bytes fit: %s", by, mtu, out)
				}
				if out, err := a.exec(a.cell, "ip route flush cache"); err != nil {
					t.Fatal(out)
				}
			}
			if out, err := a.exec(a.cell, fmt.Sprintf("ping -n -c 1 -W 2 -M do -s %d %s", 1438-28, b.container)); err != nil {
				t.Fatalf("what fits does not arrive: %s", out)
			}
			b.must(b.router.Do(func() error { ip(t, "link set br-lab mtu 1300"); return nil }))
			told(b.address.String(), "1300")
			c := a.config(b, p, 0x1000, 0x1001)
			c.Peers[0].MTU = 1280
			a.set(c)
			eventually(t, "the route's MTU", func() bool {
				return strings.Contains(a.inRouter("ip route show proto 109"), "mtu 1280")
			})
			told("10.42.0.1", "1280")
		})
	}
}
