package mesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

var errBroken = errors.New("broken")

// node is a host of fakes: everything a Reconciler touches.
type node struct {
	mu      sync.Mutex
	snap    *store.Snapshot
	local   *store.Local
	changed []chan struct{}

	guard     []netip.Prefix
	router    netip.Addr
	filter    link.Filter
	bridges   []link.Bridge
	ports     []link.Veth
	announced []string
	calls     []string
	fail      func(call string) bool // asked for every call
	touched   chan func()            // tells the Reconciler that others have touched something

	sas     map[string]ipsec.SASet
	peers   []Peer
	configs []ipsec.Config // every one that was set
}

// call notes a call, and tells whether it is to fail.
func (n *node) call(name string) error {
	n.calls = append(n.calls, name)
	if n.fail != nil && n.fail(name) {
		return fmt.Errorf("%s: %w", name, errBroken)
	}
	return nil
}

// set carries out a call unless it is to fail.
func (n *node) set(name string, do func()) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.call(name)
	if err == nil {
		do()
	}
	return err
}

func (n *node) SetGuard(p []netip.Prefix) error  { return n.set("guard", func() { n.guard = p }) }
func (n *node) SetAddr(a netip.Addr) error       { return n.set("addr", func() { n.router = a }) }
func (n *node) SetFilter(f link.Filter) error    { return n.set("filter", func() { n.filter = f }) }
func (n *node) SetBridges(b []link.Bridge) error { return n.set("bridges", func() { n.bridges = b }) }
func (n *node) SetPorts(p []link.Veth) error     { return n.set("ports", func() { n.ports = p }) }

func (n *node) Announce(bridge string, a netip.Addr, mac net.HardwareAddr) error {
	return n.set("announce", func() { n.announced = append(n.announced, fmt.Sprint(bridge, " ", a, " ", mac)) })
}

// Watch leaves fn where tests find it.
func (n *node) Watch(ctx context.Context, fn func()) error {
	n.touched <- fn
	<-ctx.Done()
	return nil
}

func (n *node) SAs() map[string]ipsec.SASet {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sas
}

func (n *node) SetPeers(p []Peer) { _ = n.set("peers", func() { n.peers = p }) }

// plane is the node's data plane.
type plane struct{ *node }

func (p plane) Set(_ context.Context, c ipsec.Config) error {
	return p.set("plane", func() { p.configs = append(p.configs, c) })
}
func (plane) Stats() (ipsec.Stats, error) { return ipsec.Stats{}, nil }
func (plane) Events() <-chan ipsec.Event  { return nil }
func (plane) Close() error                { return nil }
func (n *node) Snapshot() *store.Snapshot { n.mu.Lock(); defer n.mu.Unlock(); return n.snap }
func (n *node) Local() *store.Local       { n.mu.Lock(); defer n.mu.Unlock(); return n.local }

func (n *node) Subscribe() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := make(chan struct{}, 1)
	n.changed = append(n.changed, c)
	return c
}

// put makes the facts those of f.
func (n *node) put(f *facts) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.snap, n.local = &f.snap, &f.local
	for _, c := range n.changed {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// failing sets what fails from now on.
func (n *node) failing(f func(call string) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fail = f
}

// taken returns the calls since the last time.
func (n *node) taken() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	calls := n.calls
	n.calls = nil
	return calls
}

// fakes makes a node without facts and its Reconciler.
func fakes() (*node, *Reconciler) {
	n := &node{snap: &store.Snapshot{}, local: &store.Local{}, touched: make(chan func(), 1)}
	log := logrus.New()
	log.SetOutput(io.Discard)
	times := Times{Every: time.Hour, Settle: time.Millisecond, Backoff: time.Millisecond, MaxBackoff: 4 * time.Millisecond}
	return n, New(baseFacts().o, times, n, n, n, n, plane{n}, logrus.NewEntry(log))
}

// run runs the Reconciler until the test ends.
func run(t *testing.T, r *Reconciler) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// applied waits until a revision is carried.
func applied(t *testing.T, r *Reconciler, revision int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := r.WaitApplied(ctx, revision); err != nil {
		t.Fatal(err)
	}
}
