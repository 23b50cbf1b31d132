// Package tun is the userspace data plane: packets go between the TUN device mesh0 in the router namespace and ESP on
// the underlay's sockets: in UDP, or for peers with ENCAP esp by itself. It runs on every kernel.
//
//	containers ── router ── mesh0 │ read: up to 64 KiB with its vnet header            transmit.go
//	                              │   destination → peer, cut into segments, each sealed
//	                              │   into one buffer ──────────────► one send         ─► underlay
//	                              │
//	                              │ one read, many datagrams, opened where they lie      receive.go
//	                        mesh0 ◄─┤ inner source → must be the sender's             ◄─ underlay
//	                              │   neighbours of a TCP flow: one write
//
// There is one goroutine for sending, in Plane.Run, and one for receiving in each socket's Run. What they need to know is
// one immutable table behind an atomic pointer; Set builds the next one. The only locks on a packet's way are
// those of an inbound SA's replay window. No packet allocates.
package tun

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/ipsec/underlay"
	"github.com/meshsec/meshsec/link"
)

// Router is the router namespace, as far as this package needs it; *link.Router is one.
type Router interface {
	// Do runs fn on a thread inside the namespace.
	Do(fn func() error) error
	// SetTunnel sets a device up, with its MTU and the largest packet that the kernel hands to it.
	SetTunnel(name string, mtu, gsoMax int) error
	// SetRoutes makes these the routes into tunnels; ChangeRoutes adds some to them and deletes others.
	SetRoutes(want []link.Route) error
	ChangeRoutes(add, del []link.Route) error
}

// Plane is the userspace ipsec.Dataplane. All methods may be called concurrently; Run only once at a time.
type Plane struct {
	router Router
	socket *underlay.Socket
	esp    *underlay.ESPSocket // nil: this host does not speak ESP without UDP
	log    *logrus.Entry

	device   atomic.Pointer[device]
	replaced chan struct{} // a new device is there, capacity 1
	table    atomic.Pointer[table]
	drops    drops // of packets that belong to no peer
	events   events
	rx       receiver // of socket
	espRx    receiver // of esp

	set  sync.Mutex // serialises Set and Close
	done chan struct{}
	sas  sas           // under set
	last *ipsec.Config // of the last Set, whether it succeeded or not; under set
	// whole: as far as is known, device and routes are those of last. Under set.
	whole bool
}

var _ ipsec.Dataplane = (*Plane)(nil)

// Open attaches to the TUN device in the router namespace, making it if it is not there, and takes over the sockets'
// ESP; esp may be nil, then Set refuses peers with ENCAP esp. The device outlives the process, so that the routes into it
// stay. Nothing is carried before the first Set.
func Open(r Router, s *underlay.Socket, esp *underlay.ESPSocket, log *logrus.Entry) (*Plane, error) {
	d, err := openDevice(r, link.TunName)
	if err != nil {
		return nil, err
	}
	p := newPlane(r, s, d, log)
	s.HandleESP(p.rx.receive)
	if p.esp = esp; esp != nil {
		esp.Handle(p.espRx.receivePackets)
	}
	return p, nil
}

func newPlane(r Router, s *underlay.Socket, d *device, log *logrus.Entry) *Plane {
	p := &Plane{router: r, socket: s, log: log, replaced: make(chan struct{}, 1), done: make(chan struct{})}
	p.events.ch = make(chan ipsec.Event, 256)
	p.sas.init()
	p.table.Store(&table{routes: &routes{}})
	p.device.Store(d)
	p.rx.init(p)
	p.espRx.init(p)
	return p
}

// Run carries packets from the TUN to the underlay until ctx ends or the plane is closed. The other direction runs in
// the sockets' Run.
func (p *Plane) Run(ctx context.Context) error {
	t := newTransmitter(p)
	for {
		d := p.device.Load()
		stop := context.AfterFunc(ctx, d.interrupt)
		err := t.run(d)
		stop()
		switch {
		case ctx.Err() != nil:
			d.resume() // for a later Run
			return ctx.Err()
		case p.isClosed():
			return fmt.Errorf("tun plane: %w", net.ErrClosed)
		case p.device.Load() != d:
			continue
		}
		d.lost.Store(true)
		// Somebody has deleted the device, most likely: the next Set makes a new one.
		p.log.WithError(err).Warn("tunnel device lost, waiting for it to be made again")
		select {
		case <-p.replaced:
		case <-p.done:
			return fmt.Errorf("tun plane: %w", net.ErrClosed)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *Plane) isClosed() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Events gives what the plane has seen. Never blocks the packet path; closed by Close.
func (p *Plane) Events() <-chan ipsec.Event { return p.events.ch }

// Close lets go of the device, which stays in the router with its routes, and of the sockets' ESP.
func (p *Plane) Close() error {
	p.set.Lock()
	defer p.set.Unlock()
	if p.isClosed() {
		return nil
	}
	close(p.done)
	p.socket.HandleESP(nil)
	if p.esp != nil {
		p.esp.Handle(nil)
	}
	p.table.Store(&table{routes: &routes{}})
	p.sas.retireAll()
	p.events.close()
	return p.device.Load().close()
}
