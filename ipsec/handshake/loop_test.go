package handshake

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/ipsec"
)

// node is a Loop with a data plane that opens every packet whose SPI it has.
type node struct {
	*Loop
	id      string
	addr    netip.AddrPort
	secret  Secret
	other   *node
	fail    atomic.Bool // install fails
	asked   atomic.Int32
	mu      sync.Mutex
	carried map[string]ipsec.SASet
}

func newNode(t *testing.T, id, addr string) *node {
	n := &node{id: id, addr: netip.MustParseAddrPort(addr)}
	_, _ = rand.Read(n.secret.Bytes[:])
	m, err := NewMachine(Identity{HostID: id, Environment: "test", Private: n.secret}, rand.Reader, Options{Start: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	n.Loop = NewLoop(m, n.transmit, n.carry, logrus.NewEntry(log))
	n.OnProbe(n.echo)
	n.OnNeedSnapshot(func() { n.asked.Add(1) })
	return n
}

func (n *node) transmit(to netip.AddrPort, msg []byte) error {
	if to != n.other.addr {
		return errors.New("no route to host")
	}
	n.other.Deliver(msg, n.addr)
	clear(msg) // Deliver has its own copy
	return nil
}

func (n *node) carry() error {
	if n.fail.Load() {
		return errors.New("no such device")
	}
	sas := n.SAs()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.carried = sas
	return nil
}

func (n *node) echo(peer string) {
	n.mu.Lock()
	out := n.carried[peer].Out
	n.mu.Unlock()
	if out == nil {
		return
	}
	n.other.mu.Lock()
	in := find(n.other.carried[n.id].In, out.SPI)
	n.other.mu.Unlock()
	if in != nil {
		n.other.Event(ipsec.Event{Kind: ipsec.SPIConfirmed, Peer: n.id, SPI: out.SPI})
	}
}

func (n *node) fact() Peer { return Peer{HostID: n.id, Public: n.secret.Public(), Remote: n.addr} }

// eventually waits for a condition of running goroutines.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func (n *node) up() bool { return n.Status()[0].State == StateUp }

func TestLoop(t *testing.T) {
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	a, b := newNode(t, "a", "192.0.2.1:4500"), newNode(t, "b", "192.0.2.2:4500")
	a.other, b.other = b, a
	a.SetPeers([]Peer{{HostID: "nobody", Public: [32]byte{1}, Remote: netip.MustParseAddrPort("192.0.2.9:1")}})
	a.SetPeers([]Peer{b.fact()})
	a.fail.Store(true)
	var running sync.WaitGroup
	for _, n := range []*node{a, b} {
		running.Go(func() {
			if err := n.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "a snapshot is asked for", func() bool { return b.asked.Load() > 0 })
	b.SetPeers([]Peer{a.fact()})
	eventually(t, "a tries to install", func() bool { return len(a.SAs()) > 0 })
	if b.up() {
		t.Error("up, though a can't install")
	}
	a.fail.Store(false)
	eventually(t, "both up", func() bool { return a.up() && b.up() })

	// Everything at once, from everywhere.
	var noise sync.WaitGroup
	for range 4 {
		noise.Go(func() {
			for i := range 3000 {
				a.Deliver(make([]byte, i), b.addr)
				a.Event(ipsec.Event{Kind: ipsec.UnknownSPI, Remote: b.addr})
				b.Event(ipsec.Event{Kind: ipsec.SPILimit, Peer: "a", SPI: ipsec.SPI(i)})
				b.SetPeers([]Peer{a.fact()})
				_, _, _ = a.SAs(), a.Status(), a.Drops()
			}
		})
	}
	noise.Wait()
	eventually(t, "both up again", func() bool { return a.up() && b.up() })
	if d := a.Drops(); d["giant"] == 0 || d["header"]+d["mac"] == 0 {
		t.Error(d)
	}

	cancel()
	running.Wait()
	eventually(t, "no goroutine left", func() bool { return runtime.NumGoroutine() <= before })
}

// Before Run, and after it, nothing blocks; what does not fit is dropped and counted.
func TestLoopQueuesAreBounded(t *testing.T) {
	n := newNode(t, "a", "192.0.2.1:4500")
	for range 3 * eventQueue {
		n.Deliver([]byte{1}, n.addr)
		n.Event(ipsec.Event{})
		n.SetPeers(nil)
	}
	d := n.Drops()
	if d["queue-full"] != 3*eventQueue-messageQueue || d["event-queue-full"] != 2*eventQueue {
		t.Error(d)
	}
}

// When an install fails, the answer that counts on it must not be sent.
func TestLoopDoesNotAnswerWithoutInstall(t *testing.T) {
	n := newNode(t, "a", "192.0.2.1:4500")
	var order []string
	failing := errors.New("no such device")
	n.send = func(netip.AddrPort, []byte) error { order = append(order, "send"); return failing }
	n.install = func() error { order = append(order, "install"); return failing }
	n.probe = func(string) { order = append(order, "probe") }
	n.needSnapshot = func() { order = append(order, "ask") }
	all := []Output{NeedSnapshot{}, SAsChanged{"b"}, Send{}, SAsChanged{"c"}, Send{}, Probe{"c"}}
	n.carryOut(all)
	if got := strings.Join(order, " "); got != "install ask probe" {
		t.Error(got)
	}
	order, failing = nil, nil
	n.carryOut(all)
	n.carryOut([]Output{Send{}})
	if got := strings.Join(order, " "); got != "install ask send send probe send" {
		t.Error(got)
	}
}
