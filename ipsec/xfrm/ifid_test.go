package xfrm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
)

// An if_id that somebody else uses, visibly or not, is never a peer's.
func TestForeignIfIDIsNotUsed(t *testing.T) {
	first := firstIfID(peerName(0))
	for what, occupy := range map[string]func(k *fakeKernel){
		"by an SA of the host":             func(k *fakeKernel) { k.foreign[first] = "an SA" },
		"by an interface in another space": func(k *fakeKernel) { k.elsewhere[first], k.elsewhere[first+1] = true, true },
	} {
		t.Run(strings.ReplaceAll(what, " ", "-"), func(t *testing.T) {
			p, k := newFake(t)
			occupy(k)
			m := newMesh(k, 0, 1)
			m.rekey(0)
			m.rekey(1)
			if err := p.Set(t.Context(), m.config()); err != nil {
				t.Error(err)
			}
			for key := range k.Policies {
				if key.IfID == first {
					t.Errorf("policy %s with if_id %#x", key.Dir, first)
				}
			}
			m.whole(p)
		})
	}
}

// A device whose if_id somebody else has begun to use gets another one, and its peer new SAs.
func TestIfIDThatOthersBeginToUse(t *testing.T) {
	p, k := newFake(t)
	m := newMesh(k, 0)
	m.rekey(0)
	m.settle(p)
	id := k.Devices[deviceName(peerName(0), false)].IfID
	k.foreign[id] = "a policy"
	m.whole(p)
	if k.Devices[deviceName(peerName(0), false)].IfID == id {
		t.Error("it is used further")
	}
}

// What an agent before this one left for a peer whose device is gone is not taken for another peer's.
func TestRemaindersAreNobodyElses(t *testing.T) {
	p, k := newFake(t)
	id := firstIfID(peerName(1))
	k.States[stateKey{peerAddr(0), 77}] = state{Src: us, IfID: id, Cipher: ipsec.AES256GCM, SrcPort: ourPort, DstPort: ourPort, Window: outWindow}
	k.Policies[policyKey{out, id}] = policy{Src: us, Dst: peerAddr(0), SPI: 77}
	m := newMesh(k, 1)
	m.rekey(1)
	if err := p.Set(t.Context(), m.config()); err != nil {
		t.Fatal(err)
	}
	if k.Devices[deviceName(peerName(1), false)].IfID == id {
		t.Errorf("it has if_id %#x", id)
	}
	m.whole(p)
}

func TestIfIDsAreInRange(t *testing.T) {
	p, _ := newFake(t)
	seen := map[uint32]bool{}
	for i := range 2000 {
		id := p.pick(fmt.Sprint("host ", i))
		if !inRange(id) || id == probeIfID || seen[id] {
			t.Fatalf("if_id %#x", id)
		}
		seen[id], p.used[id] = true, true
	}
	// And when the end of the range is reached, it goes on at its beginning.
	for id := range uint32(0x10000) {
		p.used[link.IfIDBase+id] = id != 7
	}
	if id := p.pick("x"); id != link.IfIDBase+7 {
		t.Errorf("if_id %#x", id)
	}
}

func TestDeviceNames(t *testing.T) {
	for host, want := range map[string]string{"1a2b3c4d5e6f": "ms-1a2b3c4d", "1a2b3c4d-0000-4000": "ms-1a2b3c4d", "x": "ms-2d711642", "ZZZZZZZZ": deviceName("ZZZZZZZZ", true)} {
		if got := deviceName(host, false); got != want {
			t.Errorf("%s: %s, not %s", host, got, want)
		}
	}
	p, k := newFake(t)
	c := newMesh(k, 0).config()
	twin := c.Peers[0]
	twin.Name, twin.Prefixes = c.Peers[0].Name+"-twin", nil
	o := sa(firstSPI, ipsec.AES256GCM)
	c.Peers[0].Out = &o
	o2 := sa(firstSPI+1, ipsec.AES256GCM)
	twin.Out = &o2
	c.Peers = append(c.Peers, twin)
	if err := p.Set(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if len(k.Devices) != 2 {
		t.Errorf("two hosts share a device: %v", k.Devices)
	}
}

// Peers without SAs get their devices from Run, those with endpoints first.
func TestDevicesInTheBackground(t *testing.T) {
	p, k := newFake(t)
	m := newMesh(k, 0, 1, 2, 3, 4, 5)
	m.rekey(4)
	k.broken = deviceName(peerName(1), false) // which stops no other
	c := m.config()
	c.Peers[2].Prefixes = append(c.Peers[2].Prefixes, endpoint(12))
	k.homes[endpoint(12)] = peerAddr(2)
	if err := p.Set(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if len(k.made) != 1 {
		t.Errorf("Set made %v", k.made)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- p.Run(ctx) }()
	eventually(t, "all devices", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(k.Devices) == 5 && len(k.routes) == 6
	})
	stop()
	if err := <-ran; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if k.made[0] != deviceName(peerName(4), false) || k.made[1] != deviceName(peerName(2), false) {
		t.Errorf("made in the order %v", k.made)
	}
}

func TestListsAreRepeated(t *testing.T) {
	for _, transient := range []error{unix.EINTR, unix.ENOBUFS, fmt.Errorf("dump: %w", unix.EAGAIN)} {
		n := 0
		if err := again(func() error {
			if n++; n < listTries {
				return transient
			}
			return nil
		}); err != nil || n != listTries {
			t.Errorf("%v: %d tries, %v", transient, n, err)
		}
		if err := again(func() error { return transient }); !errors.Is(err, transient) {
			t.Errorf("%v: %v", transient, err)
		}
	}
	n := 0
	if err := again(func() error { n++; return io.EOF }); !errors.Is(err, io.EOF) || n != 1 {
		t.Errorf("%d tries, %v", n, err)
	}
}

func TestPurgeLeavesNothing(t *testing.T) {
	p, k := newFake(t)
	m := newMesh(k, 0, 1)
	m.rekey(0)
	m.rekey(1)
	m.settle(p)
	k.Strays["ms-stray"] = device{Name: "ms-stray"}
	if err := purge(k); err != nil {
		t.Fatal(err)
	}
	if len(k.Devices)+len(k.Strays)+len(k.States)+len(k.Policies) > 0 {
		t.Errorf("left: %v", k.world)
	}
	if slices.Contains(k.made, "ms-stray") {
		t.Error("it was made")
	}
}
