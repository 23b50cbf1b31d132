package tun_test

import (
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/ipsec/tun"
	"github.com/meshsec/meshsec/ipsec/underlay"
	"github.com/meshsec/meshsec/link"
)

// patience is how long a condition is waited for.
const patience = 20 * time.Second

// host is half of the lab: three namespaces, with the whole data path between them.
//
//	container mst-…-c ── br-lab ── router ── mesh0 ── [plane] ── UDP 4500 ── host mst-…-h ══ the other host
type host struct {
	t         testing.TB
	name      string // "a" or "b"
	ns, cell  string // names of the host's and the container's namespace
	addr      netip.AddrPort
	container netip.Addr
	address   netip.Addr // of the router
	router    *link.Router
	socket    *underlay.Socket
	esp       *underlay.ESPSocket
	encap     ipsec.Encap // of its packets
	plane     *tun.Plane
	routes    routes
	stop      func()
}

// routes counts how often the plane looks at its routes, and how many it adds and deletes without a look, and lets both fail.
type routes struct {
	*link.Router
	looks   int
	changes []int
	broken  error
}

// SetRoutes implements tun.Router.
func (r *routes) SetRoutes(want []link.Route) error {
	r.looks++
	return errors.Join(r.broken, r.Router.SetRoutes(want))
}

// ChangeRoutes implements tun.Router.
func (r *routes) ChangeRoutes(add, del []link.Route) error {
	r.changes = append(r.changes, len(add), len(del))
	return errors.Join(r.broken, r.Router.ChangeRoutes(add, del))
}

func ip(t testing.TB, args string) string {
	t.Helper()
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
	return string(out)
}

// newLab makes two hosts, each with a plane that has no peer yet. Their MTU is 1500.
func newLab(t testing.TB) (a, b *host) {
	t.Helper()
	if unix.Geteuid() != 0 {
		t.Skip("needs root, for network namespaces")
	}
	hosts := [2]*host{}
	for i, name := range []string{"a", "b"} {
		h := &host{t: t, name: name, encap: ipsec.EncapUDP}
		h.ns, h.cell = fmt.Sprintf("mst-%d-h%s", os.Getpid(), name), fmt.Sprintf("mst-%d-c%s", os.Getpid(), name)
		h.addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), 4500)
		h.container = netip.AddrFrom4([4]byte{10, 42, byte(i + 1), 9})
		h.address = netip.AddrFrom4([4]byte{100, 127, 0, byte(i + 1)})
		for _, ns := range []string{h.ns, h.cell} {
			ip(t, "netns add "+ns)
			t.Cleanup(func() { ip(t, "netns del "+ns) })
			ip(t, "-n "+ns+" link set lo up")
		}
		hosts[i] = h
	}
	a, b = hosts[0], hosts[1]
	ip(t, fmt.Sprintf("link add ul0 netns %s type veth peer name ul0 netns %s", a.ns, b.ns))
	for _, h := range hosts {
		ip(t, fmt.Sprintf("-n %s addr add %s/24 dev ul0", h.ns, h.addr.Addr()))
		ip(t, fmt.Sprintf("-n %s link set ul0 up", h.ns))
		h.connect()
		h.start()
		t.Cleanup(func() { h.stop() })
	}
	return a, b
}

// connect makes the router with its bridge, and puts the container on it.
func (h *host) connect() {
	h.t.Helper()
	path := filepath.Join(h.t.TempDir(), "router")
	pool, gateway := netip.MustParsePrefix("10.42.0.0/16"), netip.MustParseAddr("10.42.0.1")
	h.must(h.inside(h.ns, func() (err error) {
		h.router, err = link.OpenRouter(path)
		return err
	}))
	h.t.Cleanup(func() {
		_ = h.router.Close()
		_ = unix.Unmount(path, unix.MNT_DETACH)
	})
	h.must(h.router.SetAddr(h.address))
	h.must(h.router.SetBridges([]link.Bridge{{Network: "lab", Name: "br-lab", Pool: pool, Gateway: gateway, MAC: link.MACOf(gateway), MTU: 1438}}))
	h.must(h.router.SetFilter(link.Filter{
		Routers:  netip.MustParsePrefix("100.127.0.0/16"),
		Networks: []link.FilterNetwork{{Bridge: "br-lab", Pool: pool, Gateway: gateway}},
	}))
	h.must(h.router.AddVeth(link.Veth{ContainerEnd: "ms0", RouterEnd: "mv0", Bridge: "br-lab", MTU: 1438, MAC: link.MACOf(h.container), Addr: h.container}))
	ip(h.t, fmt.Sprintf("-n %s link set ms0 netns %s name eth0", h.ns, h.cell))
	ip(h.t, fmt.Sprintf("-n %s addr add %s/16 dev eth0", h.cell, h.container))
	ip(h.t, fmt.Sprintf("-n %s link set eth0 up", h.cell))
}

// start opens socket and plane, as a process does when it starts, and runs them until stop.
func (h *host) start() {
	h.t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	entry := logrus.NewEntry(log)
	h.must(h.inside(h.ns, func() (err error) {
		if h.socket, err = underlay.Listen(h.addr, entry); err != nil {
			return err
		}
		h.esp, err = underlay.OpenESP([]netip.Addr{h.addr.Addr()}, entry)
		return err
	}))
	var err error
	h.routes.Router = h.router
	h.plane, err = tun.Open(&h.routes, h.socket, h.esp, entry)
	h.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	var runs sync.WaitGroup
	socket, bare, plane := h.socket, h.esp, h.plane
	runs.Go(func() { _ = bare.Run(ctx) })
	runs.Go(func() { _ = socket.Run(ctx) })
	runs.Go(func() { _ = plane.Run(ctx) })
	h.stop = sync.OnceFunc(func() {
		cancel()
		h.must(plane.Close())
		_ = socket.Close()
		_ = bare.Close()
		runs.Wait()
	})
}

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatalf("host %s: %v", h.name, err)
	}
}

// inside runs fn on a thread in the namespace.
func (h *host) inside(ns string, fn func() error) error {
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
			fd, err := unix.Open("/run/netns/"+ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return err
			}
			return fn()
		}()
	}()
	return <-done
}

// sa is an SA whose key is made of its SPI.
func sa(spi ipsec.SPI, c ipsec.Cipher) ipsec.SA {
	s := ipsec.SA{SPI: spi, Cipher: c, Created: time.Now()}
	k := sha512.Sum512(fmt.Append(nil, spi))
	copy(s.Key.Bytes[:], k[:])
	return s
}

// config is what h carries to reach other: packets come in on SA in, go out on SA out.
func (h *host) config(other *host, in, out ipsec.SPI) ipsec.Config {
	o := sa(out, ipsec.AES256GCM)
	return ipsec.Config{Router: h.address, MTU: 1438, Peers: []ipsec.Peer{{
		Name: other.name, Remote: other.addr, Encap: h.encap, Router: other.address,
		Prefixes: []netip.Prefix{netip.PrefixFrom(other.container, 32), netip.PrefixFrom(other.address, 32)},
		In:       []ipsec.SA{sa(in, ipsec.AES256GCM)}, Out: &o,
	}}}
}

func (h *host) set(c ipsec.Config) {
	h.t.Helper()
	h.must(h.plane.Set(h.t.Context(), c))
}

// join gives both hosts SAs towards each other: a to b on base+1, b to a on base.
func join(a, b *host, base ipsec.SPI) {
	a.t.Helper()
	a.set(a.config(b, base, base+1))
	b.set(b.config(a, base+1, base))
}

// exec runs a command in the container.
func (h *host) exec(command string) (string, error) {
	out, err := exec.Command("ip", append([]string{"netns", "exec", h.cell}, strings.Fields(command)...)...).CombinedOutput()
	return string(out), err
}

// ping fails the test unless an answer comes.
func (h *host) ping(to netip.Addr) {
	h.t.Helper()
	if out, err := h.exec(fmt.Sprintf("ping -c 1 -w 10 %s", to)); err != nil {
		h.t.Fatalf("ping %s from %s: %v\n%s", to, h.name, err, out)
	}
}

// stats gives the counters of the only peer, and those of no peer.
func (h *host) stats() (ipsec.PeerStats, map[string]uint64) {
	h.t.Helper()
	s, err := h.plane.Stats()
	h.must(err)
	if len(s.Peers) != 1 {
		h.t.Fatalf("host %s: %d peers", h.name, len(s.Peers))
	}
	return s.Peers[0], s.Drops
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
		runtime.Gosched()
	}
}

// listen opens a TCP listener in the container.
func (h *host) listen() (l net.Listener) {
	h.t.Helper()
	h.must(h.inside(h.cell, func() (err error) {
		l, err = net.Listen("tcp4", netip.AddrPortFrom(h.container, 0).String())
		return err
	}))
	h.t.Cleanup(func() { _ = l.Close() })
	return l
}

// dial connects from the container.
func (h *host) dial(to net.Addr) (c net.Conn, err error) {
	err = h.inside(h.cell, func() (err error) {
		d := net.Dialer{Timeout: patience}
		c, err = d.Dial("tcp4", to.String())
		return err
	})
	return c, err
}
