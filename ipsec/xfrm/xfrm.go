package xfrm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/ipsec/underlay"
	"github.com/meshsec/meshsec/link"
)

// Router is the router namespace and the host's around it, as far as this package needs them; *link.Router is one.
type Router interface {
	// Do and DoHost run fn on a thread inside the router's namespace and the host's.
	Do(fn func() error) error
	DoHost(fn func() error) error
	// Netlink and HostNetlink open sockets in them.
	Netlink(family int) (*link.Netlink, error)
	HostNetlink(family int) (*link.Netlink, error)
	// SetRoutes makes these the routes into tunnels; ChangeRoutes adds some to them and deletes others.
	SetRoutes(want []link.Route) error
	ChangeRoutes(add, del []link.Route) error
	// HostNotices hands fn what the kernel sends to multicast groups of a family in the host's, until ctx ends.
	HostNotices(ctx context.Context, family int, groups []int, fn func(kind uint16, body []byte)) error
	// Watch calls fn when somebody has changed what SetRoutes has set, until ctx ends.
	Watch(ctx context.Context, fn func()) error
}

// Plane is the kernel's ipsec.Dataplane. All methods may be called concurrently; Run only once at a time.
type Plane struct {
	router Router
	kernel kernel
	log    *logrus.Entry
	addrs  []netip.Addr // of this host on the underlay
	port   uint16       // of the encapsulation socket
	life   lifetime     // of outbound SAs
	now    func() time.Time
	events events

	wake chan struct{} // there is work for Run, capacity 1

	mu     sync.Mutex // serialises everything that lists or changes the kernel's objects, and guards what follows
	closed bool
	memory
	tally
}

var _ ipsec.Dataplane = (*Plane)(nil)

// Open takes over the kernel's IPsec for what bears our mark, and makes the kernel take the ESP that comes in on the
// socket. addrs are this host's underlay addresses: of each address family, the first is where peers send their ESP to,
// and where ours comes from. Nothing is changed before the first Set.
func Open(r Router, s *underlay.Socket, addrs []netip.Addr, log *logrus.Entry) (*Plane, error) {
	if len(addrs) == 0 {
		return nil, errors.New("kernel plane: no underlay address")
	}
	k, err := openKernel(r)
	if err != nil {
		return nil, err
	}
	if err := s.KernelESP(); err != nil {
		return nil, errors.Join(err, k.close())
	}
	p := newPlane(r, k, addrs, s.LocalPort(), log)
	p.base, _ = k.drops() // a kernel without these counters has none now and later
	return p, nil
}

func newPlane(r Router, k kernel, addrs []netip.Addr, port uint16, log *logrus.Entry) *Plane {
	p := &Plane{router: r, kernel: k, log: log, port: port, life: usualLife, now: time.Now, wake: make(chan struct{}, 1)}
	for _, a := range addrs {
		p.addrs = append(p.addrs, a.Unmap())
	}
	p.events.ch = make(chan ipsec.Event, 4096)
	p.memory.init()
	p.tally.init()
	return p
}

// Events gives what the plane has seen. It never blocks; closed by Close.
func (p *Plane) Events() <-chan ipsec.Event { return p.events.ch }

// Close lets go of the kernel, which goes on carrying packets with what it has.
func (p *Plane) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	p.events.close()
	return p.kernel.close()
}

// errClosed is what is returned after Close.
var errClosed = fmt.Errorf("kernel plane: %w", net.ErrClosed)
