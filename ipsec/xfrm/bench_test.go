package xfrm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

const (
	manyPeers     = 1000
	perPeer       = 65
	benchPatience = 10 * time.Minute
)

// many is a Config with manyPeers peers of perPeer endpoints each, and SAs for the first keyed ones.
func (h *host) many(keyed int, base ipsec.SPI) ipsec.Config {
	c := ipsec.Config{Router: h.address, MTU: 1438}
	for i := range manyPeers {
		p := ipsec.Peer{Name: fmt.Sprintf("%08x", i+1), Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 4500), Encap: ipsec.EncapUDP}
		for j := range perPeer {
			var b [4]byte
			binary.BigEndian.PutUint32(b[:], 10<<24|42<<16+uint32(i*perPeer+j))
			p.Prefixes = append(p.Prefixes, netip.PrefixFrom(netip.AddrFrom4(b), 32))
		}
		if i < keyed {
			spi := base + ipsec.SPI(2*i)
			o := sa(spi+1, ipsec.AES256GCM)
			p.In, p.Out = []ipsec.SA{sa(spi, ipsec.AES256GCM)}, &o
		}
		c.Peers = append(c.Peers, p)
	}
	return c
}

// BenchmarkKernelThousandPeers programs a fresh host once (run it with -test.benchtime 1x), step by step, beside ip(8).
func BenchmarkKernelThousandPeers(b *testing.B) {
	h := unstarted(b, "a")
	ip(b, "-n "+h.ns+" link add ul0 type veth peer name ul1")
	ip(b, "-n "+h.ns+" addr add 192.0.2.1/24 dev ul0")
	ip(b, "-n "+h.ns+" link set ul0 up")
	h.start()
	free := available(b)
	took := func(what string, fn func()) {
		began := time.Now()
		fn()
		b.ReportMetric(time.Since(began).Seconds(), what+"-s")
		fmt.Printf("%s: %.2f s\n", what, time.Since(began).Seconds()) // the next may take minutes
	}
	set := func(c ipsec.Config) { h.must(h.plane.Set(b.Context(), c)) }
	p := h.plane.(*Plane)
	has := func(devices int) func() bool {
		return func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			n := 0
			for _, e := range p.memory.peers {
				if e.carried {
					n++
				}
			}
			return n >= devices
		}
	}
	took("set", func() { set(h.many(0, 0x10000)) })
	took("first-peer", func() { set(h.many(1, 0x10000)) })
	took("devices-and-routes", func() { within(b, benchPatience, "all devices", has(manyPeers)) })
	took("all-SAs", func() { set(h.many(manyPeers, 0x20000)) })
	took("rekey-one", func() {
		c := h.many(manyPeers, 0x20000)
		c.Peers[7].In = append([]ipsec.SA{sa(0x99990, ipsec.AES256GCM)}, c.Peers[7].In...)
		set(c)
	})
	took("the-same-again", func() { set(h.many(manyPeers, 0x20000)); set(h.many(manyPeers, 0x20000)) })
	took("look", func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.stale = false
		p.look()
	})
	b.ReportMetric(float64(free-available(b))/(1<<20), "MiB")
	routes := func() (all bytes.Buffer) {
		for _, q := range h.many(0, 0).Peers {
			for _, prefix := range q.Prefixes {
				fmt.Fprintf(&all, "route add %s dev %s proto 109 metric 109 src %s mtu 1438\n", prefix, deviceName(q.Name, false), h.address)
			}
		}
		return all
	}()
	h.must(h.router.Do(func() error { ip(b, "route flush proto 109"); return nil }))
	took("routes", func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.stale = true
		h.must(p.converge(nil))
	})
	h.stop()
	h.must(h.router.Do(func() error { ip(b, "route flush proto 109"); return nil }))
	took("routes-by-ip-batch", func() {
		h.must(h.router.Do(func() error {
			cmd := exec.Command("ip", "-batch", "-")
			cmd.Stdin = &routes
			return cmd.Run()
		}))
	})
	took("purge", func() { h.must(Purge(h.router)) })
}

// available is the memory that is left, in bytes.
func available(b *testing.B) int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		b.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var kib int64
		if n, _ := fmt.Sscanf(string(line), "MemAvailable: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	b.Fatal("no MemAvailable")
	return 0
}
