package link

import (
	"bytes"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// TestNothingPassesWhileTheTableIsReplaced: chains of the old and of the new table are both hooks, and a packet that is on its way
// from one to the other when the kernel changes generations finds neither in force.
func TestNothingPassesWhileTheTableIsReplaced(t *testing.T) {
	w := newWorld(t)
	wan := w.namespace("mst-wan")
	host := w.handle(w.host)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "wan"
	ok(t, host.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth1", PeerNamespace: netlink.NsFd(int(wan))}))
	w.address(host, "wan", netip.MustParsePrefix("192.0.2.1/24"))
	w.address(w.handle(wan), "eth1", netip.MustParsePrefix("192.0.2.2/24"))
	def := routeTo(t, "0.0.0.0/0")
	def.Gw = []byte{192, 0, 2, 2}
	ok(t, host.RouteAdd(&def))
	line := w.packetSocket(wan, "eth1")
	c := w.listen(w.host, "0.0.0.0:4001")
	to := netip.MustParseAddrPort("10.42.128.2:9")
	canary := func(f []byte) bool { return bytes.Contains(f, []byte("canary")) }
	eventually(t, "without the guard a canary leaves", func() bool {
		_, _ = c.WriteToUDPAddrPort([]byte("canary"), to)
		return frame(t, line, silence, canary)
	})

	ok(t, w.r.SetGuard(pools("10.42.0.0/16")))
	for frame(t, line, silence, canary) { // what was sent before
	}
	var work sync.WaitGroup
	var done atomic.Bool
	for range 2 {
		work.Go(func() {
			for !done.Load() {
				_, _ = c.WriteToUDPAddrPort([]byte("canary"), to)
			}
		})
	}
	for range 25 {
		w.r.guard.written = ""
		ok(t, w.r.SetGuard(pools("10.42.0.0/16")))
	}
	done.Store(true)
	work.Wait()
	n := 0
	for frame(t, line, silence, canary) {
		n++
	}
	if n > 0 {
		t.Errorf("%d packets have passed while the table was replaced", n)
	}
}

// TestTheCoverGoes: an agent that ends while the table is covered leaves that to the next one, or to Purge.
func TestTheCoverGoes(t *testing.T) {
	w := newWorld(t)
	tables := func() (names []string) {
		conn, err := nftables.New(nftables.WithNetNSFd(int(w.host)))
		ok(t, err)
		all, err := conn.ListTables()
		ok(t, err)
		for _, table := range all {
			names = append(names, table.Name)
		}
		return names
	}
	killed := func() {
		ok(t, w.r.guard.replace(coverTable, func(*nftables.Conn, *nftables.Table) error { return nil }))
	}
	ok(t, w.r.SetGuard(pools("10.42.0.0/16")))
	if got := tables(); !slices.Equal(got, []string{NftTable}) {
		t.Errorf("at the end: %v", got)
	}
	killed()
	ok(t, w.open().SetGuard(pools("10.42.0.0/16")))
	if got := tables(); !slices.Equal(got, []string{NftTable}) {
		t.Errorf("after a crash and a start: %v", got)
	}
	killed()
	for range 2 {
		ok(t, inNamespace(w.host, purgeGuard))
		if got := tables(); len(got) != 0 {
			t.Errorf("after a crash and a purge: %v", got)
		}
	}
}
