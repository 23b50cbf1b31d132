package xfrm

import (
	"os"
	"os/exec"
	"strings"
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

// breakModulePath has the kernel load no modules by itself until the test ends.
func breakModulePath(t *testing.T) {
	t.Helper()
	const path = "/proc/sys/kernel/modprobe"
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set := func(to []byte) {
		if err := os.WriteFile(path, to, 0); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { set(was) })
	set([]byte("/nonexistent"))
}

// What a kernel lacks is named; and what it only has not loaded yet, it loads by itself.
func TestKernelProbeNamesWhatIsMissing(t *testing.T) {
	if os.Getenv("LAB") == "" {
		t.Skip("unloads modules, only in the laboratory")
	}
	h := unstarted(t, "a")
	for module, says := range map[string]string{
		"xfrm_interface": "the kernel has no xfrm interface (xfrm_interface",
		"esp4":           "the kernel has no ESP (esp4",
		"xfrm_user":      "the kernel has no IPsec (xfrm_user",
	} {
		t.Run(module, func(t *testing.T) {
			eventually(t, module+" unloaded", func() bool { return exec.Command("modprobe", "-r", module).Run() == nil })
			t.Run("broken-path", func(t *testing.T) {
				breakModulePath(t)
				if _, err := Probe(h.router, quiet()); err == nil || !strings.Contains(err.Error(), says) {
					t.Errorf("probe: %v", err)
				}
				if err := Purge(h.router); err != nil {
					t.Errorf("purge: %v", err)
				}
			})
			if _, err := Probe(h.router, quiet()); err != nil {
				t.Errorf("with modules that load by themselves: %v", err)
			}
		})
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
