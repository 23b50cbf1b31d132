package link

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

func TestPurgeTakesOursAndNothingElse(t *testing.T) {
	w := newWorld(t)
	path := w.r.Path()
	ok(t, w.r.EnsureBridge(Bridge{Network: "a", Name: "br-a", Pool: netip.MustParsePrefix("10.42.0.0/16"), Gateway: addr("10.42.0.1"),
		MAC: MACOf(addr("10.42.0.1")), MTU: 1438}))
	ok(t, w.r.AddVeth(Veth{ContainerEnd: "ms0123456789", RouterEnd: "mv0123456789", Bridge: "br-a", MTU: 1438, MAC: MACOf(addr("10.42.0.2")), Addr: addr("10.42.0.2")}))
	host := w.handle(w.host)
	for _, name := range []string{"msfoo", "ms-0123456789", "vethabc"} { // somebody else's
		ok(t, host.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "p" + name[:3] + name[len(name)-2:]}))
	}
	ok(t, inNamespace(w.host, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "other"})
		return c.Flush()
	}))
	for range 2 { // the second time there is nothing left, which is no error
		ok(t, inNamespace(w.host, func() error { return Purge(path) }))
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", path, err)
	}
	if _, err := host.LinkByName("ms0123456789"); err == nil {
		t.Error("a container's end is left")
	}
	for _, name := range []string{"msfoo", "ms-0123456789", "vethabc"} {
		if _, err := host.LinkByName(name); err != nil {
			t.Errorf("%s is gone, but was not ours: %v", name, err)
		}
	}
	ok(t, inNamespace(w.host, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := c.ListTables()
		if err == nil && (len(tables) != 1 || tables[0].Name != "other") {
			t.Errorf("tables left: %d", len(tables))
		}
		return err
	}))
}

func TestPurgeOfWhatAgentsBoundOverEachOther(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("namespaces need root")
	}
	path := filepath.Join(t.TempDir(), "router")
	t.Cleanup(func() { unmount(path) })
	ok(t, makeNamespace(path))
	ok(t, makeNamespace(path))
	ns, err := netns.GetFromPath(path)
	ok(t, err)
	defer ns.Close()
	ok(t, purgeNamespace(path))
	if bound, err := isNamespace(path); bound || err != nil {
		t.Error(bound, err)
	}
}
