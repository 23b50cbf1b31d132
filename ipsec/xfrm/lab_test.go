package xfrm

import (
	"fmt"
	"testing"

	"github.com/meshsec/meshsec/ipsec"
)

func TestProbeLeavesNothing(t *testing.T) {
	h := unstarted(t, "a")
	ciphers, err := Probe(h.router, quiet())
	h.must(err)
	if len(ciphers) != 2 {
		t.Errorf("ciphers: %v", ciphers)
	}
	k, err := openKernel(h.router)
	h.must(err)
	defer func() { h.must(k.close()) }()
	inv, err := k.list()
	h.must(err)
	if len(inv.Devices)+len(inv.Strays)+len(inv.States)+len(inv.Policies) > 0 {
		t.Errorf("left: %v", inv.world)
	}
}

func TestHostsReachEachOther(t *testing.T) {
	for _, p := range []pair{usual, {ipsec.EncapESP, ipsec.AES256GCM}, {ipsec.EncapUDP, ipsec.ChaCha20Poly1305}, {ipsec.EncapESP, ipsec.ChaCha20Poly1305}} {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			a, b := newHosts(t)
			join(a, b, p, 0x1000)
			if n := a.ping(b, 20, "0.01"); n != 20 {
				t.Errorf("%d of 20 pings answered", n)
			}
			if n := b.ping(a, 20, "0.01"); n != 20 {
				t.Errorf("%d of 20 pings answered", n)
			}
		})
	}
}
