package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// node is a host under test with its agent and its container.
type node struct {
	host       *testnet.Host
	settings   []string
	process    *testnet.Process
	engine     engine
	control    *control.Client
	container  *testnet.Container
	guests     atomic.Int32     // containers that were begun besides
	mac        net.HardwareAddr // on the underlay
	home, away netip.Addr       // its underlay address, and the other one that it sometimes has
	now        atomic.Pointer[netip.Addr]
	logged     int // length of the agent's log when the schedule began
}

func newNode(ctx context.Context, h *testnet.Host, i int, o options) (*node, error) {
	away := h.Addr.As4()
	away[3] += 100
	n := &node{host: h, engine: testnet.NewEngine(h), home: h.Addr, away: netip.AddrFrom4(away), control: control.NewClient(h.Path("/run/meshsec/meshsec.sock")),
		// By the interface: the address may be another one when the agent starts again.
		settings: []string{"ADVERTISE=eth0", "DATAPLANE=" + o.plane, "HOST_NAME=" + name(i), fmt.Sprint("ETCD_MEMBERS=", max(1, o.members))}}
	if !o.metrics {
		n.settings = append(n.settings, "LISTEN=off")
	}
	n.now.Store(&n.home)
	// Forwarding as Docker sets it: what keeps injected packets out must not be its absence.
	if _, err := h.Run(ctx, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.promote_secondaries=1",
		// Else a host tells the one that an injected packet seems to be from of a better way, and quotes it.
		"net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.eth0.send_redirects=0"); err != nil {
		return nil, err
	}
	return n, h.Enter(func() error {
		link, err := net.InterfaceByName("eth0")
		if err == nil {
			n.mac = link.HardwareAddr
		}
		return err
	})
}

// at is the host's underlay address just now.
func (n *node) at() netip.Addr { return *n.now.Load() }

func (n *node) start() (err error) {
	n.process, err = n.host.StartAgent(n.settings...)
	return err
}

// stop ends the agent by a signal.
func (n *node) stop(ctx context.Context, sig unix.Signal) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second*scale())
	defer cancel()
	return n.process.Stop(ctx, sig)
}

// rekey asks the agent for new keys, which one that is not there, or paused, can't do.
func (n *node) rekey(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, _ = n.control.Rekey(ctx)
}

// startContainer starts the container that is always there.
func (n *node) startContainer(ctx context.Context, h *holders) error {
	if err := n.engine.CreateNetwork(ctx); err != nil {
		return fmt.Errorf("%s: %w", n.host.Name, err)
	}
	g := &guest{node: n}
	if err := g.start(ctx, h); err != nil {
		return err
	}
	if n.container = g.container; !g.holds {
		return fmt.Errorf("%s does not start: %w", g, g.refused)
	}
	return nil
}

func (n *node) markLog() { n.logged = len(n.process.Output()) }

// log is what the agent has said since the schedule began.
func (n *node) log() string {
	if n.process == nil {
		return ""
	}
	text := n.process.Output()
	return text[min(n.logged, len(text)):]
}
