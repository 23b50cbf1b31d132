package link

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// Router is the router namespace of this host.
type Router struct{ path string }

// Option changes a default of OpenRouter.
type Option func(*Router)

// WithProcSys names the directory that sysctls are written through.
func WithProcSys(root string) Option { return func(*Router) {} }

// OpenRouter finds the router namespace bound at path, or makes it.
func OpenRouter(path string, opts ...Option) (*Router, error) { return nil, errors.ErrUnsupported }

// Path is where the namespace is bound.
func (r *Router) Path() string { return r.path }

// Close lets go of the namespace, which stays.
func (r *Router) Close() error { return nil }

// Do runs fn on a thread inside the router namespace. fn must not start goroutines that rely on it.
func (r *Router) Do(fn func() error) error { return errors.ErrUnsupported }

// SetAddr makes addr the router address, a /32 on lo.
func (r *Router) SetAddr(addr netip.Addr) error { return errors.ErrUnsupported }

// SetTunnel sets a tunnel device that is already in the router namespace up, with its MTU and the largest GSO packet
// that the kernel may hand to it (0: the kernel's default).
func (r *Router) SetTunnel(name string, mtu, gsoMax int) error { return errors.ErrUnsupported }

// Bridge is a network's bridge in the router namespace.
type Bridge struct {
	Network string
	Name    string
	Pool    netip.Prefix
	Gateway netip.Addr
	MAC     net.HardwareAddr
	MTU     int
}

// SetBridges makes these the bridges of the router namespace.
func (r *Router) SetBridges(want []Bridge) error { return errors.ErrUnsupported }

// EnsureBridge makes one bridge without touching others, and shuts the host's namespace for its pool before that. For
// calls that can't wait for the reconciler: after it AddVeth works.
func (r *Router) EnsureBridge(b Bridge) error { return errors.ErrUnsupported }

// Route is a route into a tunnel.
type Route struct {
	Dst netip.Prefix
	Dev string
	Src netip.Addr
	MTU int
}

// SetRoutes makes these the routes of protocol RouteProtocol.
func (r *Router) SetRoutes(want []Route) error { return errors.ErrUnsupported }

// Filter is what the router namespace lets through.
type Filter struct {
	Routers  netip.Prefix // the range of router addresses
	Networks []FilterNetwork
}

// FilterNetwork is a network within a Filter.
type FilterNetwork struct {
	Bridge  string
	Pool    netip.Prefix
	Gateway netip.Addr
}

// SetFilter replaces the packet filter of the router namespace.
func (r *Router) SetFilter(f Filter) error { return errors.ErrUnsupported }

// SetGuard makes the host's namespace drop everything from or to the pools.
func (r *Router) SetGuard(pools []netip.Prefix) error { return errors.ErrUnsupported }

// Announce tells the containers on a bridge that addr is reached at mac, by a gratuitous ARP.
func (r *Router) Announce(bridge string, addr netip.Addr, mac net.HardwareAddr) error {
	return errors.ErrUnsupported
}

// Veth is the pair of links between a container and its network's bridge.
type Veth struct {
	ContainerEnd string
	RouterEnd    string
	Bridge       string
	MTU          int
	MAC          net.HardwareAddr // of the container's end
}

// AddVeth makes the pair: the container's end down in the host's namespace, the router's end up in the bridge.
func (r *Router) AddVeth(v Veth) error { return errors.ErrUnsupported }

// DelVeth deletes the pair, wherever its ends are. A pair that does not exist is no error.
func (r *Router) DelVeth(containerEnd, routerEnd string) error { return errors.ErrUnsupported }

// Veths lists the router ends that are there.
func (r *Router) Veths() ([]string, error) { return nil, errors.ErrUnsupported }

// HostOverlap names the route or nameserver of the host's namespace that p overlaps with; "" if there is none.
func HostOverlap(p netip.Prefix) (what string, err error) { return "", errors.ErrUnsupported }

// DefaultAddr gives the address, the link and the MTU that the host's default route uses.
func DefaultAddr() (addr netip.Addr, dev string, mtu int, err error) {
	return netip.Addr{}, "", 0, errors.ErrUnsupported
}

// ResolveAdvertise turns the setting ADVERTISE into addresses of this host, and the smallest MTU of their links.
func ResolveAdvertise(s string) (addrs []netip.Addr, mtu int, err error) {
	return nil, 0, errors.ErrUnsupported
}

// Reply is an answer to an echo request of a Pinger.
type Reply struct {
	From    netip.Addr
	ID, Seq uint16
	RTT     time.Duration
}

// Pinger sends ICMP echo requests from the router address.
type Pinger struct{}

// NewPinger opens a raw ICMP socket in the router namespace.
func (r *Router) NewPinger(src netip.Addr) (*Pinger, error) { return nil, errors.ErrUnsupported }

// Send sends one echo request. It may be called concurrently.
func (p *Pinger) Send(dst netip.Addr, id, seq uint16) error { return errors.ErrUnsupported }

// Run hands each reply to fn until ctx is done or the Pinger is closed.
func (p *Pinger) Run(ctx context.Context, fn func(Reply)) error { return errors.ErrUnsupported }

// Close ends Run.
func (p *Pinger) Close() error { return nil }
