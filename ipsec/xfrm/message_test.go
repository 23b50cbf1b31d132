package xfrm

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
)

var us6, them6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")

func TestStateMessage(t *testing.T) {
	k4, k6 := stateKey{us, 0x12345678}, stateKey{us6, 0xfffffffe}
	for _, c := range []struct {
		key stateKey
		state
	}{
		{k4, state{Src: peerAddr(1), IfID: link.IfIDBase + 5, Cipher: ipsec.AES256GCM, SrcPort: 4500, DstPort: 4501, Window: inWindow}},
		{k4, state{Src: peerAddr(1), IfID: link.IfIDBase + 5, Cipher: ipsec.ChaCha20Poly1305, Window: outWindow}},
		{k6, state{Src: them6, IfID: link.IfIDBase + 5, Cipher: ipsec.AES256GCM, SrcPort: 1, DstPort: 65535, Window: inWindow}},
	} {
		key := sa(1, c.Cipher).Key
		m := c.state.add(c.key, &key)
		got, ok := parseState(m.Body)
		if !ok || got.key != c.key || got.state != c.state || got.reqid != c.IfID {
			t.Errorf("%v %v: got %v %v", c.key, c.state, got.key, got.state)
		}
		if !bytes.Contains(m.Body, key.Bytes[:]) {
			t.Error("the key is not in it")
		}
		if cap(m.Body) != 512 {
			t.Error("the message has grown, which leaves a copy of the key behind")
		}
	}
}

// An SA with settings that none of ours has is told from ours.
func TestUnusualStates(t *testing.T) {
	key := sa(1, ipsec.AES256GCM).Key
	k := stateKey{us, 0x1000}
	s := state{Src: peerAddr(1), IfID: link.IfIDBase + 5, Cipher: ipsec.AES256GCM, Window: inWindow}
	const mode, flags, proto = 214, 216, 76 // within struct xfrm_usersa_info
	for name, at := range map[string]int{"mode": mode, "flags": flags} {
		b := s.add(k, &key).Body
		b[at]++
		if got, ok := parseState(b); !ok || got.state == s {
			t.Errorf("%s: %v %v", name, got.state, ok)
		}
	}
	b := s.add(k, &key).Body
	b[proto] = unix.IPPROTO_AH
	if _, ok := parseState(b); ok {
		t.Error("AH was taken for ESP")
	}
	if got, ok := parseState(nullState(k, us, s.IfID).Body); !ok || got.Cipher != 0 {
		t.Errorf("null cipher: %v", got.state)
	}
}

func TestMessagesCutShort(t *testing.T) {
	key := sa(1, ipsec.AES256GCM).Key
	s := state{Src: peerAddr(1), IfID: link.IfIDBase + 5, Cipher: ipsec.AES256GCM, SrcPort: 4500, DstPort: 4500, Window: inWindow}
	d := device{Name: "ms-x", IfID: link.IfIDBase + 1, MTU: 1438}
	for _, b := range [][]byte{s.add(stateKey{us, 1}, &key).Body, policy{us, us, 7}.set(policyKey{out, 5}).Body, d.create().Body, d.set().Body} {
		for n := range b {
			parseState(b[:n])
			parsePolicy(b[:n])
			parseDevice(b[:n])
		}
	}
}

func TestDeviceMessage(t *testing.T) {
	d := device{Name: "ms-1a2b3c4d", IfID: link.IfIDBase + 1, MTU: 1438}
	got, ok := parseDevice(d.create().Body)
	if !ok || got.device != d || !got.plain || got.home != -1 {
		t.Errorf("got %+v %v", got, ok)
	}
}

// On every kernel with netlink for IPsec, also without ESP: what is not there can be listed and purged, and policies come
// back as they were set.
func TestPoliciesOfTheKernel(t *testing.T) {
	if unix.Geteuid() != 0 {
		t.Skip("needs root, for network namespaces")
	}
	h := &host{t: t, ns: fmt.Sprintf("mst-%d-p", os.Getpid())}
	ip(t, "netns add "+h.ns)
	t.Cleanup(func() { ip(t, "netns del "+h.ns) })
	path := filepath.Join(t.TempDir(), "router")
	h.must(h.inside(h.ns, func() (err error) {
		h.router, err = link.OpenRouter(path)
		return err
	}))
	t.Cleanup(func() {
		_ = h.router.Close()
		_ = unix.Unmount(path, unix.MNT_DETACH)
	})
	k, err := openKernel(h.router)
	h.must(err)
	defer func() { h.must(k.close()) }()
	id := uint32(link.IfIDBase + 9)
	want := map[policyKey]policy{
		{in, id}:      {Src: unspecified(us), Dst: us},
		{fwd, id}:     {Src: unspecified(us6), Dst: us6},
		{out, id}:     {Src: us, Dst: peerAddr(1), SPI: 0xfffffffe},
		{out, id + 1}: {Src: us6, Dst: them6, SPI: 0x1000},
	}
	var steps []step
	for key, p := range want {
		steps = append(steps, step{Verb: setPolicy, Key: key, Policy: p}, step{Verb: setPolicy, Key: key, Policy: p})
	}
	for i, err := range k.apply(steps, nil) {
		if err != nil {
			t.Skipf("%s: %v", steps[i], err)
		}
	}
	// Somebody else's, with an if_id of our range.
	theirs := fmt.Sprintf("src 10.9.0.0/16 dst 10.8.0.0/16 dir out if_id %#x", link.IfIDBase+3)
	ip(t, "-n "+h.ns+" xfrm policy add "+theirs+" tmpl src 192.0.2.1 dst 192.0.2.9 proto esp reqid 5 mode tunnel")
	inv, err := k.list()
	h.must(err)
	if fmt.Sprint(inv.Policies) != fmt.Sprint(want) || len(inv.foreign) != 1 || inv.foreign[link.IfIDBase+3] == "" {
		t.Errorf("got %v and %v", inv.Policies, inv.foreign)
	}
	h.must(Purge(h.router))
	h.must(Purge(h.router))
	if inv, err = k.list(); err != nil || len(inv.Policies) != 0 {
		t.Errorf("left: %v %v", inv.Policies, err)
	}
	ip(t, "-n "+h.ns+" xfrm policy get "+theirs)
}
