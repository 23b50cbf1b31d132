package tun_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/ipsec/tun"
	"github.com/meshsec/meshsec/link"
)

func TestPing(t *testing.T) {
	a, b := newLab(t)
	join(a, b, 0x1000)
	a.ping(b.container)
	b.ping(a.container)
	if out, err := a.exec(fmt.Sprintf("ping -c 1 -w 10 -M do -s %d %s", 1438-28, b.container)); err != nil {
		t.Errorf("a ping as large as the MTU: %s", out)
	}
	if out, err := a.exec(fmt.Sprintf("ping -c 1 -w 10 -s %d %s", 5000, b.container)); err != nil {
		t.Errorf("a ping in fragments: %s", out)
	}
	p, drops := a.stats()
	if p.RxPackets == 0 || p.TxPackets == 0 || p.RxBytes < 1438 || p.TxBytes < 1438 || time.Since(p.LastRx) > patience {
		t.Errorf("%+v", p)
	}
	if len(p.Drops) > 0 || len(drops) > 0 {
		t.Errorf("dropped: %v, %v", p.Drops, drops)
	}
}

// transfer sends a megabyte or so from one container to the other and back, and compares.
func transfer(t *testing.T, from, to *host, n int) {
	t.Helper()
	l := to.listen()
	sum := make(chan [32]byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		h := sha256.New()
		_, _ = io.Copy(io.MultiWriter(h, c), io.LimitReader(c, int64(n)))
		sum <- [32]byte(h.Sum(nil))
	}()
	c, err := from.dial(l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	go func() { _, _ = c.Write(data) }()
	back := make([]byte, n)
	if _, err := io.ReadFull(c, back); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(back, data) || <-sum != sha256.Sum256(data) {
		t.Error("what came is not what was sent")
	}
}

func TestTCP(t *testing.T) {
	a, b := newLab(t)
	join(a, b, 0x1000)
	transfer(t, a, b, 1<<20)
	transfer(t, b, a, 1<<20)
	for _, h := range []*host{a, b} {
		if p, drops := h.stats(); len(p.Drops) > 0 || len(drops) > 0 {
			t.Errorf("dropped: %v, %v", p.Drops, drops)
		}
	}
}

// SAs change, peers come and go, the same Config comes twice, all under traffic.
func TestSetDuringTraffic(t *testing.T) {
	a, b := newLab(t)
	join(a, b, 0x1000)
	done := make(chan struct{})
	var sets sync.WaitGroup
	sets.Go(func() {
		for spi := ipsec.SPI(0x2000); ; spi += 2 {
			select {
			case <-done:
				return
			default:
			}
			// The order of a rekey: both accept the new SAs, both use them, both forget the old ones.
			ca, cb := a.config(b, spi-2, spi-1), b.config(a, spi-1, spi-2)
			if spi == 0x2000 {
				ca, cb = a.config(b, 0x1000, 0x1001), b.config(a, 0x1001, 0x1000)
			}
			na, nb := a.config(b, spi, spi+1), b.config(a, spi+1, spi)
			ca.Peers[0].In = append(na.Peers[0].In, ca.Peers[0].In...)
			cb.Peers[0].In = append(nb.Peers[0].In, cb.Peers[0].In...)
			a.set(ca)
			b.set(cb)
			ca.Peers[0].Out, cb.Peers[0].Out = na.Peers[0].Out, nb.Peers[0].Out
			a.set(ca)
			b.set(cb)
			a.set(ca)
		}
	})
	defer sets.Wait()
	defer close(done)
	for range 3 {
		transfer(t, a, b, 1<<20)
		a.ping(b.container)
	}
}

func TestRestart(t *testing.T) {
	a, b := newLab(t)
	join(a, b, 0x1000)
	a.ping(b.container)
	a.stop()
	// The device, its routes and so the proxy ARP answers outlive the process.
	var out string
	a.must(a.router.Do(func() error { out = ip(t, "route show dev mesh0"); return nil }))
	if !strings.Contains(out, b.container.String()) {
		t.Errorf("routes without a process: %s", out)
	}
	a.start()
	join(a, b, 0x2000)
	a.ping(b.container)
	transfer(t, b, a, 1<<18)
}

func TestDeviceIsRepaired(t *testing.T) {
	a, b := newLab(t)
	join(a, b, 0x1000)
	for _, damage := range []string{
		"link set mesh0 down", "link set mesh0 mtu 900 gso_max_size 3000", "link del mesh0", "route flush table main proto 109", "link del mesh0",
	} {
		a.must(a.router.Do(func() error { ip(t, damage); return nil }))
		// Packets from the other side meet the damage: counted, not fatal.
		_, _ = b.exec(fmt.Sprintf("ping -c 1 -W 0.2 %s", a.container))
		a.set(a.config(b, 0x1000, 0x1001))
		a.ping(b.container)
		transfer(t, b, a, 1<<17)
		a.must(a.router.Do(func() error {
			if s := ip(t, "-d link show mesh0"); !strings.Contains(s, "mtu 1438") || !strings.Contains(s, "gso_max_size 62000") {
				t.Errorf("after %q: %s", damage, s)
			}
			return nil
		}))
	}
}

func TestSecondAgent(t *testing.T) {
	a, _ := newLab(t)
	_, err := tun.Open(a.router, a.socket, nil, nil)
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "mesh0 is in use by another agent") {
		t.Errorf("%v", err)
	}
	a.stop()
	a.must(a.router.Do(func() error {
		ip(t, "link del mesh0")
		ip(t, "link add mesh0 type bridge")
		return nil
	}))
	if _, err := tun.Open(a.router, a.socket, nil, nil); err == nil || !strings.Contains(err.Error(), "not a tun device") {
		t.Errorf("%v", err)
	}
}

// A container whose packet can't be sent is told: its connect fails instead of hanging.
func TestUnreachable(t *testing.T) {
	a, b := newLab(t)
	join(a, b, 0x1000)
	a.ping(b.container)
	c := a.config(b, 0x1000, 0x1001)
	c.Peers[0].Out = nil
	a.set(c)
	refused := func(what string, to netip.Addr) {
		t.Helper()
		_, err := a.dial(net.TCPAddrFromAddrPort(netip.AddrPortFrom(to, 80)))
		if !errors.Is(err, unix.EHOSTUNREACH) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("no SA", b.container)
	if p, _ := a.stats(); p.Drops["no-sa"] == 0 {
		t.Errorf("%v", p.Drops)
	}
	// A route that the plane does not know of leads into the TUN.
	stray := netip.MustParseAddr("10.42.7.7")
	a.must(a.router.Do(func() error { ip(t, "route add "+stray.String()+" dev mesh0"); return nil }))
	refused("no peer", stray)
	if _, drops := a.stats(); drops["no-route"] == 0 {
		t.Errorf("%v", drops)
	}
}

func TestSetErrors(t *testing.T) {
	a, b := newLab(t)
	good := a.config(b, 0x1000, 0x1001)
	b.set(b.config(a, 0x1001, 0x1000))
	bad := good
	bad.Peers = append(bad.Peers, ipsec.Peer{Name: "c", Remote: netip.MustParseAddrPort("[2001:db8::2]:4500"), Encap: ipsec.EncapESP, Prefixes: []netip.Prefix{
		netip.MustParsePrefix("2001:db8::1/128"), good.Peers[0].Prefixes[0], netip.MustParsePrefix("10.42.3.3/32"),
	}}, ipsec.Peer{Name: "d", Remote: b.addr, Encap: ipsec.EncapUDP, Out: &ipsec.SA{SPI: 0x77, Cipher: 3},
		In: []ipsec.SA{sa(0x1000, ipsec.AES256GCM), sa(7, ipsec.AES256GCM)}})
	err := a.plane.Set(t.Context(), bad)
	for _, want := range []string{
		"peer c: encapsulation esp", "2001:db8::1/128 is not IPv4", "10.42.2.9/32 belongs to peer b",
		"peer d: inbound SA 0x00001000: the SPI is reserved or belongs", "inbound SA 0x00000007", "outbound SA 0x00000077: transform 3",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
	a.ping(b.container) // the good peer is carried all the same
	if err := a.plane.Set(t.Context(), ipsec.Config{}); err == nil || !strings.Contains(err.Error(), "MTU") {
		t.Errorf("MTU 0: %v", err)
	}
	a.stop()
	if err := a.plane.Set(t.Context(), good); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, ok := <-a.plane.Events(); ok {
		for range a.plane.Events() { // confirmations of before; what counts is that it is closed
		}
	}
}

// Opening, running and closing leaves no goroutine and no file behind.
func TestNothingIsLeftBehind(t *testing.T) {
	a, b := newLab(t)
	files := func() int {
		d, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(d)
	}
	join(a, b, 0x800) // the routers keep a socket from the first routes on
	a.stop()
	goroutines, open := runtime.NumGoroutine(), files()
	for i := range 3 {
		a.start()
		join(a, b, ipsec.SPI(0x1000+16*i))
		a.ping(b.container)
		a.stop()
	}
	until(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
	if n := files(); n > open {
		t.Errorf("%d open files, %d before", n, open)
	}
}

var _ tun.Router = (*link.Router)(nil)
