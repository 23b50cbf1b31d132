package xfrm

import (
	"testing"

	"github.com/meshsec/meshsec/ipsec"
)

func TestKernelProbeLeavesNothing(t *testing.T) {
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

// pairs are all the ways in which two hosts can talk.
var pairs = []pair{usual, {ipsec.EncapESP, ipsec.AES256GCM}, {ipsec.EncapUDP, ipsec.ChaCha20Poly1305}, {ipsec.EncapESP, ipsec.ChaCha20Poly1305}}

func TestKernelHostsReachEachOther(t *testing.T) {
	a, b := newHosts(t)
	for i, p := range pairs {
		t.Run(p.String(), func(t *testing.T) {
			join(a, b, p, 0x1000+ipsec.SPI(16*i))
			reach(t, a, b)
		})
	}
}

func TestKernelReachesUserspace(t *testing.T) {
	a, b := unstarted(t, "a"), unstarted(t, "b")
	a.meet(b)
	b.userspace = true
	a.start()
	b.start()
	for i, p := range pairs {
		t.Run(p.String(), func(t *testing.T) {
			join(a, b, p, 0x1000+ipsec.SPI(16*i))
			reach(t, a, b)
		})
	}
}

// reach has hosts ping each other and transfer, and nothing leave in the clear.
func reach(t *testing.T, a, b *host) {
	t.Helper()
	underlay, far := listen(t, a, a.ns, "ul0"), listen(t, b, b.ns, "ul0")
	for _, from := range []*host{a, b} {
		to := a
		if from == a {
			to = b
		}
		if n := from.ping(to, 50, "0.01"); n != 50 {
			t.Errorf("%s to %s: %d of 50 pings answered", from.name, to.name, n)
			for _, h := range []*host{a, b} {
				s, err := h.plane.Stats()
				t.Logf("host %s: %+v %v", h.name, s, err)
			}
		}
		transfer(t, from, to)
	}
	underlay.dry(t)
	far.dry(t)
}
