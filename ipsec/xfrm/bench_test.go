package xfrm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

const (
	manyPeers     = 1000
	perPeer       = 65
	benchPatience = 10 * time.Minute
)

// many is a Config with other, whose SAs are as join makes them, and further peers that are not there, manyPeers in all, of
// perPeer endpoints each. If keyed, all have SAs.
func (h *host) many(other *host, keyed bool) ipsec.Config {
	c := ipsec.Config{Router: h.address, MTU: 1438}
	for i := range manyPeers - 1 {
		p := ipsec.Peer{Name: fmt.Sprintf("%08x", i+1), Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 4500), Encap: ipsec.EncapUDP}
		for j := range perPeer {
			var b [4]byte
			binary.BigEndian.PutUint32(b[:], 10<<24|43<<16+uint32(i*perPeer+j))
			p.Prefixes = append(p.Prefixes, netip.PrefixFrom(netip.AddrFrom4(b), 32))
		}
		if keyed {
			spi := 0x20000 + ipsec.SPI(2*i)
			o := sa(spi+1, ipsec.AES256GCM)
			p.In, p.Out = []ipsec.SA{sa(spi, ipsec.AES256GCM)}, &o
		}
		c.Peers = append(c.Peers, p)
	}
	c.Peers = append(c.Peers, h.config(other, usual, 0x1000, 0x1001).Peers...)
	return c
}

// BenchmarkKernelThousandPeers programs a fresh host once (run it with -test.benchtime 1x), and then another by ip(8).
func BenchmarkKernelThousandPeers(b *testing.B) {
	h, other := unstarted(b, "a"), unstarted(b, "b")
	h.meet(other)
	ip(b, "-n "+h.ns+" route add default via "+other.addr.Addr().String())
	h.start()
	other.start()
	other.set(other.config(h, usual, 0x1001, 0x1000))
	h.ping(other, 1, "1") // no SA, no answer; but ARP and what the processor caches
	took := func(what string, fn func()) {
		began := time.Now()
		fn()
		b.ReportMetric(time.Since(began).Seconds(), what+"-s")
		fmt.Printf("figure: %s: %.2f s\n", what, time.Since(began).Seconds()) // the next may take minutes
	}
	p := h.plane.(*Plane)
	devices := func() (n int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, e := range p.memory.peers {
			if e.carried {
				n++
			}
		}
		return n
	}
	fresh := h.many(other, false)
	objects := status(b, "/proc/meminfo", "SUnreclaim") // what the kernel's own objects take
	took("all", func() {
		took("first-peer-answers", func() {
			h.set(fresh)
			within(b, benchPatience, "an answer", func() bool { return h.ping(other, 1, "1") == 1 })
		})
		fmt.Printf("figure: devices made when the first peer answers: %d of %d\n", devices(), manyPeers)
		took("devices-and-routes", func() { within(b, benchPatience, "all devices", func() bool { return devices() == manyPeers }) })
		took("SAs-and-policies", func() { h.set(h.many(other, true)) })
	})
	fmt.Printf("figure: memory: %d MiB of the kernel, at most %d MiB of the process\n",
		(status(b, "/proc/meminfo", "SUnreclaim")-objects)>>10, status(b, "/proc/self/status", "VmHWM")>>10)
	took("rekey-one", func() {
		c := h.many(other, true)
		c.Peers[7].In = append([]ipsec.SA{sa(0x99990, ipsec.AES256GCM)}, c.Peers[7].In...)
		h.set(c)
	})
	took("look", func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.stale = false
		p.look()
	})
	h.must(h.router.Do(func() error { ip(b, "route flush proto 109"); return nil }))
	took("routes", func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.stale = true
		h.must(p.converge(nil))
	})
	h.stop()
	took("purge", func() { h.must(Purge(h.router)) })
	h.byHand(h.many(other, true), took)
}

// byHand does the same by ip -batch, as its commands would be put into a script: kind by kind.
func (h *host) byHand(c ipsec.Config, took func(string, func())) {
	var links, moves, ups, routes, states, policies strings.Builder
	for i, q := range c.Peers {
		dev, id, remote := deviceName(q.Name, false), probeIfID+1+uint32(i), q.Remote.Addr()
		fmt.Fprintf(&links, "link add %s type xfrm if_id %#x\n", dev, id)
		fmt.Fprintf(&moves, "link set %s netns %s\n", dev, h.path)
		fmt.Fprintf(&ups, "link set %s up mtu 1438\n", dev)
		for _, prefix := range q.Prefixes {
			fmt.Fprintf(&routes, "route add %s dev %s proto 109 metric 109 src %s mtu 1438\n", prefix, dev, h.address)
		}
		for _, s := range []struct {
			sa       ipsec.SA
			src, dst netip.Addr
		}{{q.In[0], remote, h.addr.Addr()}, {*q.Out, h.addr.Addr(), remote}} {
			fmt.Fprintf(&states, "xfrm state add src %s dst %s proto esp spi %s reqid %d mode tunnel if_id %#x replay-window 4096 flag esn aead rfc4106(gcm(aes)) 0x%x 128 encap espinudp 4500 4500 0.0.0.0\n",
				s.src, s.dst, s.sa.SPI, id, id, s.sa.Key.Bytes)
		}
		fmt.Fprintf(&policies, "xfrm policy update dir out if_id %#x tmpl src %s dst %s proto esp spi %s reqid %d mode tunnel\n", id, h.addr.Addr(), remote, q.Out.SPI, id)
		for _, dir := range []direction{in, fwd} {
			fmt.Fprintf(&policies, "xfrm policy update dir %s if_id %#x tmpl src 0.0.0.0 dst %s proto esp reqid %d mode tunnel\n", dir, id, h.addr.Addr(), id)
		}
	}
	batch := func(text string) {
		cmd := exec.Command("ip", "-batch", "-")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			h.t.Fatalf("ip -batch: %v: %.300s", err, out)
		}
	}
	host := func(text string) { h.must(h.router.DoHost(func() error { batch(text); return nil })) }
	router := func(text string) { h.must(h.router.Do(func() error { batch(text); return nil })) }
	took("ip-batch-all", func() {
		took("ip-batch-devices", func() {
			host(links.String())
			host(moves.String())
			router(ups.String())
		})
		took("ip-batch-SAs-and-policies", func() { host(states.String()); host(policies.String()) })
		took("ip-batch-routes", func() { router(routes.String()) })
	})
}

// status reads a line of a file in proc, in KiB.
func status(b *testing.B, path, name string) (kib int) {
	text, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if n, _ := fmt.Sscanf(string(line), name+": %d kB", &kib); n == 1 {
			return kib
		}
	}
	b.Fatalf("no %s in %s", name, path)
	return 0
}
