package driver

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/link"
)

// space opens a router within a host namespace of the test's own, and a view of that namespace.
func space(t *testing.T) (*link.Router, *netlink.Handle) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("namespaces need root")
	}
	path := filepath.Join(t.TempDir(), "mst-router")
	type opened struct {
		router *link.Router
		handle *netlink.Handle
		err    error
	}
	result := make(chan opened)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, and the namespace with the handles
		var o opened
		if o.err = unix.Unshare(unix.CLONE_NEWNET); o.err == nil {
			if o.router, o.err = link.OpenRouter(path); o.err == nil {
				o.handle, o.err = netlink.NewHandle(unix.NETLINK_ROUTE)
			}
		}
		result <- o
	}()
	o := <-result
	if o.err != nil {
		t.Fatal(o.err)
	}
	t.Cleanup(func() {
		o.handle.Close()
		_ = o.router.Close()
		for unix.Unmount(path, unix.MNT_DETACH) == nil {
		}
	})
	return o.router, o.handle
}

// Cases 4, 5 and 12 with links of the kernel.
func TestLinksOfTheKernel(t *testing.T) {
	router, host := space(t)
	r := newRig(t, teststore.New(t), "one")
	r.driver.links = router
	ctx := context.Background()
	pool := r.network(net1, "blue")
	addr := r.start(net1, pool, ep1, "web")
	container, port := link.EndpointLink(ep1)
	end, err := host.LinkByName(container)
	if err != nil {
		t.Fatalf("the container's end is not in the host's namespace when Join answers: %v", err)
	}
	mac := link.MACOf(netip.MustParsePrefix(addr).Addr()).String()
	if a := end.Attrs(); a.MTU != tunnelMTU || a.HardwareAddr.String() != mac || a.RawFlags&unix.IFF_UP != 0 {
		t.Errorf("MTU %d, MAC %v, flags %#x", a.MTU, a.HardwareAddr, a.RawFlags)
	}
	if !r.driver.there(port) {
		t.Error("the router's end is missing")
	}
	// Docker moves the container's end away; a second Join must not make it anew.
	if err := host.LinkSetName(end, "eth0"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.driver.Join(ctx, net1, ep1, "/run/docker/netns/web", nil); err != nil {
		t.Error(err)
	}
	if _, err := host.LinkByName("eth0"); err != nil {
		t.Error("the link that Docker has moved is gone")
	}
	if err := host.LinkSetName(end, container); err != nil { // and back, after Leave
		t.Fatal(err)
	}
	for range 2 {
		r.end(net1, pool, ep1, addr)
	}
	if links, err := host.LinkList(); err != nil || len(links) != 1 {
		t.Errorf("left in the host's namespace: %v, %v", links, err)
	}
	if ends, err := router.Veths(); err != nil || len(ends) != 0 {
		t.Errorf("left in the router: %v, %v", ends, err)
	}
	r.start(net1, pool, ep2, "db")
	r.remove(net1, pool) // with a live endpoint
	if links, err := host.LinkList(); err != nil || len(links) != 1 {
		t.Errorf("left in the host's namespace: %v, %v", links, err)
	}
}
