package link

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/internal/crashpoint"
)

const crashEnv = "MESHSEC_TEST_CRASH_LINK"

// TestMain lets the test binary be the agent that TestCrashPoints kills.
func TestMain(m *testing.M) {
	dir := os.Getenv(crashEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := crashChild(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

var (
	crashNet  = bridgeOf("blue", "10.42.0.0/16")
	crashOne  = vethOf("aaaa", crashNet, netip.MustParseAddr("10.42.0.9"))
	crashTwo  = vethOf("bbbb", crashNet, netip.MustParseAddr("10.42.0.10"))
	crashSelf = netip.MustParseAddr("100.127.0.1")
)

// crashChild is an agent's life: its first start, a network, two endpoints of which one ends again.
func crashChild(dir string) error {
	if err := crashpoint.Filter(); err != nil {
		return err
	}
	host, err := openNamespace(filepath.Join(dir, "mst-host"))
	if err != nil {
		return err
	}
	var r *Router
	err = inNamespace(host, func() (err error) {
		r, err = OpenRouter(filepath.Join(dir, "run", "router"))
		return err
	})
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return crashRound(r) },
		func() error { return r.EnsureBridge(crashNet) },
		func() error { return r.AddVeth(crashOne) },
		func() error { return r.AddVeth(crashTwo) },
		func() error { return crashRound(r, crashOne, crashTwo) },
		func() error { return r.DelVeth(crashTwo.ContainerEnd, crashTwo.RouterEnd) },
		func() error { return crashRound(r, crashOne) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// crashRound is a round of the reconciler's, with or without the network.
func crashRound(r *Router, ports ...Veth) error {
	pools, filter, bridges, routes := []netip.Prefix{}, Filter{Routers: netip.MustParsePrefix("100.127.0.0/16")}, []Bridge{}, []Route{}
	if len(ports) > 0 {
		pools, bridges = append(pools, crashNet.Pool), append(bridges, crashNet)
		filter.Networks = []FilterNetwork{{Bridge: crashNet.Name, Pool: crashNet.Pool, Gateway: crashNet.Gateway}}
		routes = []Route{{Dst: netip.MustParsePrefix("10.42.7.7/32"), Dev: crashNet.Name, Src: crashSelf}}
	}
	for _, set := range []func() error{
		func() error { return r.SetGuard(pools) }, func() error { return r.SetAddr(crashSelf) }, func() error { return r.SetFilter(filter) },
		func() error { return r.SetBridges(bridges) }, func() error { return r.SetPorts(ports) }, func() error { return r.SetRoutes(routes) },
	} {
		if err := set(); err != nil {
			return err
		}
	}
	return nil
}

// TestCrashPoints kills an agent at every change that it makes in the kernel: before the system call, and after it. The next agent
// makes of what is there what one makes that was never disturbed, a further round changes nothing, and in the end nothing is left.
func TestCrashPoints(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("namespaces need root")
	}
	whole := &crashpoint.Tracer{}
	want := crashAt(t, whole)
	n := len(whole.Writes())
	t.Logf("figure: %d crash points in the kernel, each before and after its effect: %s", n, strings.Join(whole.Writes(), ", "))
	if n < 30 {
		t.Errorf("only %d points", n)
	}
	stride := 1
	if testing.Short() {
		stride = 9
	}
	var group errgroup.Group
	group.SetLimit(4)
	for end := 1; end <= n; end += stride {
		for _, done := range []bool{false, true} {
			group.Go(func() error {
				t.Run(fmt.Sprintf("%d-%v", end, done), func(t *testing.T) {
					p := &crashpoint.Tracer{N: end, After: done}
					if got := crashAt(t, p); got != want {
						t.Errorf("killed at %s, it ends with\n%swant\n%s", p.Writes()[end-1], got, want)
					}
				})
				return nil
			})
		}
	}
	_ = group.Wait()
}

// crashAt gives what the kernel holds when another agent has gone on.
func crashAt(t *testing.T, p *crashpoint.Tracer) string {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.host = w.namespace("mst-host")
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), crashEnv+"="+w.dir), os.Stderr
	status, err := p.Run(cmd, nil)
	if err != nil || p.N == 0 && status.ExitStatus() != 0 || p.N > 0 && (!status.Signaled() || len(p.Writes()) < p.N) {
		t.Fatalf("it ended with status %#x after %d changes: %v", int(status), len(p.Writes()), err)
	}
	w.r = w.open()
	// The driver's part, repeated by Docker, then rounds, also after the time for which a stranger is left alone.
	ok(t, w.r.EnsureBridge(crashNet))
	ok(t, w.r.AddVeth(crashOne))
	ok(t, crashRound(w.r, crashOne))
	w.r.now = func() time.Time { return time.Now().Add(2 * orphanFor) }
	ok(t, crashRound(w.r, crashOne))
	w.settles(func() error { return crashRound(w.r, crashOne) })
	got := w.holds()
	ok(t, w.r.DelVeth(crashOne.ContainerEnd, crashOne.RouterEnd))
	ok(t, crashRound(w.r))
	if left := w.holds(); strings.Contains(left, "veth") || strings.Contains(left, "bridge") || strings.Contains(left, "10.42") {
		t.Errorf("left in the end:\n%s", left)
	}
	return got
}

// settles waits until a round changes nothing. The kernel tells of links that have come up a second later, so it may take some.
func (w *world) settles(round func() error) {
	w.t.Helper()
	watches := w.watches()
	defer func() {
		for _, x := range watches {
			_ = unix.Close(x.fd)
		}
	}()
	for end := time.Now().Add(20 * time.Second); ; {
		heard(watches, 50)
		ok(w.t, round())
		got := heard(watches, 20)
		if len(got) == 0 {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("a further round always changes something: %s", strings.Join(got, ", "))
		}
	}
}

// holds lists links, addresses and routes of both namespaces, and the router's rules.
func (w *world) holds() string {
	w.t.Helper()
	var lines []string
	for where, h := range map[string]*netlink.Handle{"router": w.r.nl, "host": w.r.hostNL} {
		links := must(list(h.LinkList))(w.t)
		names := map[int]string{}
		for _, l := range links {
			a := l.Attrs()
			names[a.Index] = a.Name
			if ours(a.Name, PortPrefix) {
				a.HardwareAddr = nil // the kernel's choice
			}
			lines = append(lines, fmt.Sprintf("%s: %s %s %v mtu %d %v of %s", where, l.Type(), a.Name, a.HardwareAddr, a.MTU, a.Flags, names[a.MasterIndex]))
			for _, addr := range must(list(func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_V4) }))(w.t) {
				lines = append(lines, fmt.Sprintf("%s: %s has %v", where, a.Name, addr.IPNet))
			}
		}
		for _, r := range must(list(func() ([]netlink.Route, error) { return h.RouteList(nil, netlink.FAMILY_V4) }))(w.t) {
			lines = append(lines, fmt.Sprintf("%s: route to %v by %s from %v, protocol %d", where, r.Dst, names[r.LinkIndex], r.Src, r.Protocol))
		}
	}
	for where, rules := range map[string]*ruleset{"guard": &w.r.guard, "filter": &w.r.filter, "sources": &w.r.sources} {
		conn, table, err := rules.open()
		ok(w.t, err)
		for _, other := range must(conn.ListTablesOfFamily(table.Family))(w.t) {
			lines = append(lines, fmt.Sprintf("%s: table %s", where, other.Name))
		}
		for _, chain := range must(conn.ListChainsOfTableFamily(table.Family))(w.t) {
			rules := must(conn.GetRules(chain.Table, chain))(w.t)
			lines = append(lines, fmt.Sprintf("%s: %d rules in %s", where, len(rules), chain.Name))
		}
	}
	var keys []string
	ok(w.t, w.r.sources.elements(sourceSet, func() { keys = nil }, func(key []byte, _ bool) { keys = append(keys, fmt.Sprintf("sources: %x", key[16:])) }))
	lines = append(lines, keys...)
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}
