package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/directory"
	"github.com/meshsec/meshsec/dns"
	"github.com/meshsec/meshsec/store"
)

func nameOf(i int) string { return fmt.Sprintf("container-%05d.bench.internal", i) }

func addrOf(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 42, byte(i >> 8), byte(i)}) }

// server is a DNS server in a process of its own.
type server struct {
	addr string
	cmd  *exec.Cmd
	dir  string
	// Of our own: what the heap holds of the names as facts, as every agent has them, and of the directory that DNS adds to them, bytes.
	facts, directory uint64
}

func (s *server) end() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	_ = os.RemoveAll(s.dir)
}

// processorTime is what the threads of the process have used of processors so far (Documentation/scheduler/sched-stats.rst).
func (s *server) processorTime() time.Duration {
	total := time.Duration(0)
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", s.cmd.Process.Pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(task) // of a thread that has ended just now: nothing
		var ns int64
		_, _ = fmt.Sscan(string(text), &ns)
		total += time.Duration(ns)
	}
	return total
}

// memory is the resident size in bytes.
func (s *server) memory() int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kib << 10
		}
	}
	return 0
}

func lastProcessor() string { return strconv.Itoa(runtime.NumCPU() - 1) }

// startOwn runs this program as the server; it prints its address and what it holds when it listens.
func startOwn(ctx context.Context, names int) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := pinned(ctx, self, "-serve", strconv.Itoa(names))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd}
	_, err = fmt.Fscan(bufio.NewReader(out), &s.addr, &s.facts, &s.directory)
	return s, err
}

// live is how much of the heap is in use.
func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// serveNames is the server: as in the agent, with the agent's setting of the collector.
func serveNames(ctx context.Context, names int) error {
	debug.SetGCPercent(50)
	before := live()
	pool := netip.MustParsePrefix("10.42.0.0/16")
	snap := &store.Snapshot{Revision: 1, Networks: map[string]store.Network{"default": {Name: "default", Pool: pool}},
		Blocks: map[store.BlockKey]store.Claim{{Network: "default", Prefix: pool}: {Host: "far"}}}
	m := make(map[store.EndpointKey]*store.Endpoint, names)
	for i := range names {
		e := store.Endpoint{Host: "far", Network: "default", Addr: addrOf(i), Name: strings.TrimSuffix(nameOf(i), ".bench.internal")}
		m[e.Key()] = &e
	}
	snap.Endpoints = map[string]map[store.EndpointKey]*store.Endpoint{"far": m}
	local := &store.Local{Endpoints: map[string]store.LocalEndpoint{"me": {Endpoint: store.Endpoint{ID: "me", Host: "self", Network: "default",
		Addr: netip.MustParseAddr("127.0.0.1")}}}}
	facts := live()
	board := directory.NewBoard(directory.New("self").Next(snap, local, nil))
	all := live()
	s := dns.New(dns.Options{Domain: "bench.internal", Board: board,
		Age: func() (time.Duration, bool) { return 0, true }, Resolvers: func() []netip.AddrPort { return nil }, Rate: 1 << 30})
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	tcp, err := net.Listen("tcp4", udp.LocalAddr().String())
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.Serve(ctx, udp, tcp) })
	fmt.Println(udp.LocalAddr(), facts-before, all-facts)
	return group.Wait()
}

// startDnsmasq runs dnsmasq with the names in a hosts file.
func startDnsmasq(ctx context.Context, names int) (*server, error) {
	dir, err := os.MkdirTemp("", "mst-names")
	if err != nil {
		return nil, err
	}
	var hosts strings.Builder
	for i := range names {
		fmt.Fprintln(&hosts, addrOf(i), nameOf(i))
	}
	file := filepath.Join(dir, "hosts")
	if err := os.WriteFile(file, []byte(hosts.String()), 0o644); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	probe, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := probe.LocalAddr().(*net.UDPAddr)
	_ = probe.Close()
	cmd := pinned(ctx, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=",
		"--bind-interfaces", "--listen-address=127.0.0.1", "--port="+strconv.Itoa(addr.Port), "--addn-hosts="+file, "--local=/bench.internal/", "--local-ttl=5")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{addr: addr.String(), cmd: cmd, dir: dir}
	if names == 0 {
		names = 1 // the answer is that there is none
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if l, err := newLoad(s.addr, names); err == nil {
			_, err = l.ask()
			l.close()
			if err == nil {
				return s, nil
			}
		}
	}
	s.end()
	return nil, errors.New("dnsmasq does not answer")
}
