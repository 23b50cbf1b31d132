package xfrm

import (
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
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

// The first thread stays the main goroutine's: it can't end, so what inside did with it would keep a namespace and its SAs
// until the tests are over.
func init() { runtime.LockOSThread() }

// patience is how long a condition is waited for.
const patience = 30 * time.Second

// host is half of a mesh: three namespaces with the whole data path between them.
//
//	container mst-…-c ── br-lab ── router ── ms-… ┄┄ host mst-…-h ══ the other host
type host struct {
	t         testing.TB
	name      string // host ID: "a…" or "b…"
	userspace bool
	ns, cell  string // names of the host's and the container's namespace
	addr      netip.AddrPort
	seen      netip.AddrPort // where others see it; addr, if there is no NAT
	container netip.Addr
	address   netip.Addr // of the router
	path      string
	router    *link.Router
	socket    *underlay.Socket
	esp       *underlay.ESPSocket // of the userspace plane
	plane     ipsec.Dataplane
	stop      func()
}

func quiet() *logrus.Entry {
	log := logrus.New()
	log.SetOutput(io.Discard)
	if os.Getenv("VERBOSE") != "" {
		log.SetOutput(os.Stderr)
		log.SetLevel(logrus.DebugLevel)
	}
	return logrus.NewEntry(log)
}

func ip(t testing.TB, args string) string {
	t.Helper()
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
	return string(out)
}

// newHosts makes hosts a and b, whose planes run and have no peer yet. Their underlay's MTU is 1500.
func newHosts(t testing.TB) (a, b *host) {
	t.Helper()
	a, b = unstarted(t, "a"), unstarted(t, "b")
	a.meet(b)
	a.start()
	b.start()
	return a, b
}

// unstarted makes a host without underlay and plane, and skips the test where the kernel can't be the data plane.
func unstarted(t testing.TB, name string) *host {
	t.Helper()
	if unix.Geteuid() != 0 {
		t.Skip("needs root, for network namespaces")
	}
	n := byte(name[0] - 'a' + 1)
	h := &host{t: t, name: name + "0000000-host",
		ns: fmt.Sprintf("mst-%d-h%s", os.Getpid(), name), cell: fmt.Sprintf("mst-%d-c%s", os.Getpid(), name),
		addr:      netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 4500),
		container: netip.AddrFrom4([4]byte{10, 42, n, 9}), address: netip.AddrFrom4([4]byte{100, 127, 0, n}),
		path: filepath.Join(t.TempDir(), "router"),
	}
	h.seen = h.addr
	for _, ns := range []string{h.ns, h.cell} {
		ip(t, "netns add "+ns)
		t.Cleanup(func() { ip(t, "netns del "+ns) })
		ip(t, "-n "+ns+" link set lo up")
	}
	h.must(h.inside(h.ns, func() (err error) {
		h.router, err = link.OpenRouter(h.path)
		return err
	}))
	t.Cleanup(func() {
		_ = h.router.Close()
		_ = unix.Unmount(h.path, unix.MNT_DETACH)
	})
	if _, err := Probe(h.router, quiet()); err != nil {
		if os.Getenv("LAB") != "" { // whose kernels have all that it takes
			t.Fatal(err)
		}
		t.Skipf("the kernel can't be the data plane: %v", err)
	}
	h.connect()
	return h
}

// meet joins the underlays of two hosts.
func (h *host) meet(other *host) {
	ip(h.t, fmt.Sprintf("link add ul0 netns %s type veth peer name ul0 netns %s", h.ns, other.ns))
	for _, h := range []*host{h, other} {
		ip(h.t, fmt.Sprintf("-n %s addr add %s/24 dev ul0", h.ns, h.addr.Addr()))
		ip(h.t, fmt.Sprintf("-n %s link set ul0 up", h.ns))
	}
}

// connect gives the router its bridge, and puts the container on it.
func (h *host) connect() {
	h.t.Helper()
	pool, gateway := netip.MustParsePrefix("10.42.0.0/16"), netip.MustParseAddr("10.42.0.1")
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
	h.must(h.inside(h.ns, func() (err error) {
		h.socket, err = underlay.Listen(h.addr, quiet())
		return err
	}))
	var err error
	if h.userspace {
		h.must(h.inside(h.ns, func() (err error) {
			h.esp, err = underlay.OpenESP([]netip.Addr{h.addr.Addr()}, quiet())
			return err
		}))
		h.plane, err = tun.Open(h.router, h.socket, h.esp, quiet())
	} else {
		h.plane, err = Open(h.router, h.socket, []netip.Addr{h.addr.Addr()}, quiet())
	}
	h.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	var runs sync.WaitGroup
	socket, plane := h.socket, h.plane
	if h.esp != nil {
		runs.Go(func() { _ = h.esp.Run(ctx) })
	}
	runs.Go(func() { _ = socket.Run(ctx) })
	runs.Go(func() { _ = plane.(interface{ Run(context.Context) error }).Run(ctx) })
	h.stop = sync.OnceFunc(func() {
		cancel()
		h.must(plane.Close())
		_ = socket.Close()
		runs.Wait()
	})
	h.t.Cleanup(h.stop)
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
			defer func() { _ = unix.Close(fd) }()
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

// pair is how two hosts talk.
type pair struct {
	encap  ipsec.Encap
	cipher ipsec.Cipher
}

func (p pair) String() string { return string(p.encap) + "-" + p.cipher.String() }

var usual = pair{ipsec.EncapUDP, ipsec.AES256GCM}

// config is what h carries to reach other: packets come in on SA in, go out on SA out.
func (h *host) config(other *host, p pair, in, out ipsec.SPI) ipsec.Config {
	o := sa(out, p.cipher)
	return ipsec.Config{Router: h.address, MTU: 1438, Peers: []ipsec.Peer{{
		Name: other.name, Remote: other.seen, Encap: p.encap, Router: other.address,
		Prefixes: []netip.Prefix{netip.PrefixFrom(other.container, 32), netip.PrefixFrom(other.address, 32)},
		In:       []ipsec.SA{sa(in, p.cipher)}, Out: &o,
	}}}
}

func (h *host) set(c ipsec.Config) {
	h.t.Helper()
	h.must(h.plane.Set(h.t.Context(), c))
}

// join gives both hosts SAs towards each other: a to b on base+1, b to a on base.
func join(a, b *host, p pair, base ipsec.SPI) {
	a.t.Helper()
	b.set(b.config(a, p, base+1, base))
	a.set(a.config(b, p, base, base+1))
}

// exec runs a command in a namespace.
func (h *host) exec(ns, command string) (string, error) {
	out, err := exec.Command("ip", append([]string{"netns", "exec", ns}, strings.Fields(command)...)...).CombinedOutput()
	return string(out), err
}

// ping sends n packets to other's container and gives the answers.
func (h *host) ping(other *host, n int, interval string) int {
	h.t.Helper()
	out, err := h.exec(h.cell, fmt.Sprintf("ping -n -q -i %s -c %d -W 2 %s", interval, n, other.container))
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	return answers(h.t, out)
}

// answers reads ping's summary.
func answers(t testing.TB, out string) int {
	t.Helper()
	var sent, received int
	for line := range strings.Lines(out) {
		if n, _ := fmt.Sscanf(line, "%d packets transmitted, %d received", &sent, &received); n == 2 {
			return received
		}
	}
	t.Fatalf("ping said: %s", out)
	return 0
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, fn func() bool) {
	t.Helper()
	within(t, patience, what, fn)
}

func within(t testing.TB, limit time.Duration, what string, fn func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !fn(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}
