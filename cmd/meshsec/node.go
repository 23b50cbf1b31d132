package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/driver"
	"github.com/meshsec/meshsec/ipam"
	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/ipsec/handshake"
	"github.com/meshsec/meshsec/ipsec/underlay"
	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/mesh"
	"github.com/meshsec/meshsec/settings"
	"github.com/meshsec/meshsec/store"
)

// node is everything that serves containers on this host, wired together.
//
//	dockerd ─► plugin ─► driver, ipam ─► checkpoint ─► publisher ─► etcd
//	etcd ─► store ─► snapshot ─► mesh ─► link, data plane ◄─ SAs ─ handshake ◄─► underlay socket
type node struct {
	set  settings.Settings
	log  *logrus.Entry
	id   store.Identity
	etcd []string

	addrs                      []netip.Addr
	forwards                   []netip.AddrPort // of a NAT that forwards to this host
	fact                       store.Host       // of this host, without what it observes
	mtu, underlayMTU           int              // bytes; mtu is the inner one
	dataPlane, dataPlaneReason string
	routerPath, survives       string

	checkpoint *store.Checkpoint
	members    *store.Membership // of the embedded etcd; nil: an etcd of the operator's own
	store      *store.Store
	router     *link.Router
	socket     *underlay.Socket
	esp        *underlay.ESPSocket // nil: ENCAP is not esp
	plane      dataplane
	ciphers    []ipsec.Cipher // of this host and its plane, the preferred one first
	handshake  *handshake.Loop
	mesh       *mesh.Reconciler
	prober     *prober
	ipam       *ipam.IPAM
	driver     *driver.Driver
	services   services
	lostHosts  atomic.Pointer[map[string]bool] // by ID; replaced, never changed

	closers []func() error // in the order in which things were opened
	stop    context.CancelFunc
	group   *errgroup.Group
}

// startNode brings everything up, or nothing: after an error it may be called again. say tells what is waited for.
func startNode(ctx context.Context, set settings.Settings, p paths, log *logrus.Entry, say func(string)) (_ *node, err error) {
	n := &node{set: set, log: log}
	run, cancel := context.WithCancel(ctx)
	n.stop = cancel
	n.group, run = errgroup.WithContext(run)
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	ppks, err := readPPKs(set, p)
	if err != nil {
		return nil, err
	}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"looking at its capabilities", func(context.Context) error { return checkCapabilities() }},
		{"opening the checkpoint", func(context.Context) error { return n.openCheckpoint(p) }},
		{"finding the underlay address", func(context.Context) error { return n.findUnderlay() }},
		{"opening the router namespace", func(context.Context) error { return n.openRouter(p) }},
		{"opening UDP port " + fmt.Sprint(set.Port), func(context.Context) error { return n.openDataPlane() }},
		{"reaching etcd", func(ctx context.Context) error { return n.openStore(ctx, p, say) }},
		{"preparing DNS and metadata", func(context.Context) error { return n.openServices(p) }},
		{"preparing the mesh", func(context.Context) error { return n.openMesh(ppks) }},
		{"preparing the drivers", func(context.Context) error { return n.openDrivers(p) }},
	} {
		say(step.what)
		if err := step.do(run); err != nil {
			return nil, err
		}
	}
	n.start(run)
	return n, nil
}

func (n *node) openCheckpoint(p paths) error {
	cp, err := openCheckpoint(n.set, p)
	if err != nil {
		return err
	}
	n.checkpoint = cp
	n.closers = append(n.closers, cp.Close)
	n.id = cp.Local().Identity
	return nil
}

func (n *node) findUnderlay() error {
	a, err := link.ResolveAdvertise(n.set.Advertise)
	if err != nil {
		return fmt.Errorf("setting ADVERTISE: %w", err)
	}
	n.addrs, n.forwards, n.underlayMTU = a.Addrs, a.Forwards, a.MTU
	n.mtu = n.meshOptions().MTU()
	return nil
}

func (n *node) openRouter(p paths) (err error) {
	path, survives := p.router()
	n.routerPath, n.survives = p.onHost(path), survives
	opts := []link.Option{link.WithServices(servicePorts(n.set)...)}
	if p.procSys != "" {
		opts = append(opts, link.WithProcSys(p.procSys))
	}
	if n.router, err = link.OpenRouter(path, opts...); err != nil {
		return err
	}
	n.closers = append(n.closers, n.router.Close)
	return nil
}

// start runs every part until one fails or the node is closed.
func (n *node) start(ctx context.Context) {
	parts := []func(context.Context) error{
		n.socket.Run, n.plane.Run, n.handshake.Run, n.mesh.Run, n.prober.run, n.ipam.Run, n.driver.Run, n.pumpEvents, n.observe, n.keepUnderlay,
	}
	parts = append(parts, n.runServices()...)
	if n.esp != nil {
		parts = append(parts, n.esp.Run)
	}
	for _, run := range parts {
		n.group.Go(func() error { return run(ctx) })
	}
}

// run waits until ctx ends or a part fails, and closes everything. Links, routes and the router namespace stay.
func (n *node) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, n.stop)
	defer stop()
	err := n.group.Wait()
	if ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, n.close())
}

// close ends what was opened, last first. It may be called more than once.
func (n *node) close() error {
	n.stop()
	var errs []error
	if err := n.group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		errs = append(errs, err)
	}
	for i := len(n.closers) - 1; i >= 0; i-- {
		if err := n.closers[i](); !errors.Is(err, net.ErrClosed) { // its Run has closed it
			errs = append(errs, err)
		}
	}
	n.closers = nil
	return errors.Join(errs...)
}

// pumpEvents takes what the data plane has seen to the handshake.
func (n *node) pumpEvents(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-n.plane.Events():
			if !ok {
				return nil
			}
			n.handshake.Event(e)
		}
	}
}
