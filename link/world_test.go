package link

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// world is a host namespace with a router of its own. Nothing in it reaches any other namespace.
//
//	wan ── host namespace │ router namespace ── containers
type world struct {
	t    testing.TB
	dir  string
	host netns.NsHandle
	r    *Router
}

func newWorld(t testing.TB, opts ...Option) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("namespaces need root")
	}
	w := &world{t: t, dir: t.TempDir()}
	w.host = w.namespace("mst-host")
	w.r = w.open(opts...)
	return w
}

// namespace makes a namespace that ends with the test.
func (w *world) namespace(name string) netns.NsHandle {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	ns, err := openNamespace(path)
	ok(w.t, err)
	w.t.Cleanup(func() {
		_ = ns.Close()
		unmount(path)
	})
	ok(w.t, inNamespace(ns, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	}))
	return ns
}

// open opens the world's router, as an agent that starts does.
func (w *world) open(opts ...Option) *Router {
	w.t.Helper()
	path := filepath.Join(w.dir, "run", "router")
	var r *Router
	ok(w.t, inNamespace(w.host, func() (err error) {
		r, err = OpenRouter(path, opts...)
		return err
	}))
	w.t.Cleanup(func() {
		_ = r.Close()
		unmount(path)
	})
	return r
}

func unmount(path string) {
	for unix.Unmount(path, unix.MNT_DETACH) == nil {
	}
}

// handle gives a netlink handle in a namespace.
func (w *world) handle(ns netns.NsHandle) *netlink.Handle {
	w.t.Helper()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	ok(w.t, err)
	w.t.Cleanup(h.Close)
	return h
}

// container makes a container on a bridge: a namespace whose eth0 is the container's end of a pair.
func (w *world) container(id string, b Bridge, addr netip.Addr) netns.NsHandle {
	w.t.Helper()
	v := vethOf(id, b, addr)
	ok(w.t, w.r.AddVeth(v))
	ns := w.namespace("mst-" + id)
	l, err := w.handle(w.host).LinkByName(v.ContainerEnd)
	ok(w.t, err)
	ok(w.t, w.handle(w.host).LinkSetNsFd(l, int(ns)))
	h := w.handle(ns)
	ok(w.t, h.LinkSetName(l, "eth0"))
	w.address(h, "eth0", netip.PrefixFrom(addr, b.Pool.Bits()))
	return ns
}

// address gives a link an address and sets it up.
func (w *world) address(h *netlink.Handle, name string, p netip.Prefix) netlink.Link {
	w.t.Helper()
	l, err := h.LinkByName(name)
	ok(w.t, err)
	ok(w.t, h.AddrAdd(l, &netlink.Addr{IPNet: toIPNet(p)}))
	ok(w.t, h.LinkSetUp(l))
	return l
}

func vethOf(id string, b Bridge, addr netip.Addr) Veth {
	end, port := EndpointLink(id + "0123456789abcdef")
	return Veth{ContainerEnd: end, RouterEnd: port, Bridge: b.Name, MTU: b.MTU, MAC: MACOf(addr), Addr: addr}
}

// bridgeOf is a bridge as mesh would ask for it.
func bridgeOf(network, pool string) Bridge {
	p := netip.MustParsePrefix(pool)
	gw := p.Addr().Next()
	return Bridge{Network: network, Name: BridgeName(network), Pool: p, Gateway: gw, MAC: MACOf(gw), MTU: 1438}
}

// tunnel makes a TUN named mesh0 in the router namespace: what is routed to it can be read, what is written comes in.
func (w *world) tunnel() *os.File {
	w.t.Helper()
	var f *os.File
	ok(w.t, w.r.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		req, err := unix.NewIfreq(TunName)
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), TunName)
		return nil
	}))
	w.t.Cleanup(func() { _ = f.Close() })
	ok(w.t, w.r.SetTunnel(TunName, 1438, 0))
	return f
}

// patience is how long a test waits for what must come; silence how long for what must not.
const (
	patience = 10 * time.Second
	silence  = 300 * time.Millisecond
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must(f())(t) is f's value; an error ends the test.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		ok(t, err)
		return v
	}
}

// eventually waits until what holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		pause()
	}
}

// pause lets the kernel's own work go on before the next look.
func pause() {
	_, _ = unix.Poll(nil, 5)
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func mac(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}
