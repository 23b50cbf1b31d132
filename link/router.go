package link

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Router is the router namespace of this host, and the host's namespace around it.
type Router struct {
	path       string
	procSys    string
	now        func() time.Time
	watchEvery time.Duration
	services   []Service

	ns, hostNS netns.NsHandle
	nl, hostNL *netlink.Handle // one per namespace

	// links serialises what changes links; the other locks are beside what they guard.
	links   sync.Mutex
	fresh   map[string]freshBridge // by bridge name
	orphan  map[string]time.Time   // by router end: since when nobody wants it
	joined  map[string]source      // by router end: pairs of AddVeth that no SetPorts has named yet
	allowed map[string]source      // by router end: what sources lets through; nil before the first call
	guard   ruleset
	filter  ruleset
	sources ruleset
	routes  routeTable
}

// Option changes a default of OpenRouter.
type Option func(*Router)

// WithProcSys names the directory that the router's sysctls are written through, instead of /proc/sys. Docker mounts a
// plugin's /proc/sys read-only. The way around it is a bind mount of the host's /proc/sys/net at <root>/net: what is
// below net resolves in the network namespace of the thread that opens it, whatever namespace the mount came from
// (fs/proc/proc_sysctl.c, net_ctl_root's lookup), so that this thread's being in the router is enough. A fresh mount of
// proc would do as well, but depends on nothing else hiding a part of /proc, and on AppArmor and seccomp letting us.
func WithProcSys(root string) Option { return func(r *Router) { r.procSys = root } }

// OpenRouter finds the router namespace bound at path, or makes it; either way its sysctls are set and lo is up. The
// calling thread's namespace is the host's from then on. Needs CAP_SYS_ADMIN and CAP_NET_ADMIN. One process at a time
// may have a router open.
func OpenRouter(path string, opts ...Option) (_ *Router, err error) {
	r := &Router{path: path, procSys: "/proc/sys", now: time.Now, watchEvery: watchEvery,
		ns: netns.None(), hostNS: netns.None(), fresh: map[string]freshBridge{}, orphan: map[string]time.Time{}, joined: map[string]source{}}
	for _, opt := range opts {
		opt(r)
	}
	defer func() {
		if err != nil {
			_ = r.Close()
		}
	}()
	if r.hostNS, err = netns.GetFromPath(threadNS); err != nil {
		return nil, fmt.Errorf("host network namespace: %w", err)
	}
	if r.ns, err = openNamespace(path); err != nil {
		return nil, err
	}
	if r.ns.Equal(r.hostNS) {
		return nil, fmt.Errorf("router namespace %s: it is the host's own", path)
	}
	if r.nl, err = netlink.NewHandleAt(r.ns, unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("router namespace %s: %w", path, err)
	}
	if r.hostNL, err = netlink.NewHandleAt(r.hostNS, unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("host network namespace: %w", err)
	}
	r.guard.ns, r.filter.ns, r.sources.ns, r.routes.ns = r.hostNS, r.ns, r.ns, r.ns
	r.guard.family, r.filter.family, r.sources.family = nftables.TableFamilyINet, nftables.TableFamilyINet, nftables.TableFamilyBridge
	r.guard.covered = true
	if err := r.Do(r.setBaseSysctls); err != nil {
		return nil, err
	}
	lo, err := r.nl.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("router link lo: %w", err)
	}
	if err := r.nl.LinkSetUp(lo); err != nil {
		return nil, fmt.Errorf("router link lo: %w", err)
	}
	return r, nil
}

// Path is where the namespace is bound.
func (r *Router) Path() string { return r.path }

// Close lets go of the namespace, which stays with everything in it.
func (r *Router) Close() error {
	for _, h := range []*netlink.Handle{r.nl, r.hostNL} {
		if h != nil {
			h.Close()
		}
	}
	errs := []error{r.routes.close()}
	for _, ns := range []*netns.NsHandle{&r.ns, &r.hostNS} {
		if ns.IsOpen() {
			errs = append(errs, ns.Close())
		}
	}
	return errors.Join(errs...)
}

// Do runs fn on a thread inside the router namespace; what fn opens there (sockets, a TUN) stays there. Goroutines that
// fn starts run in the host's namespace.
func (r *Router) Do(fn func() error) error { return inNamespace(r.ns, fn) }

// SetAddr makes addr the router address: a /32 on lo, and the only one that we put there.
func (r *Router) SetAddr(addr netip.Addr) error {
	r.links.Lock()
	defer r.links.Unlock()
	if !addr.Is4() {
		return fmt.Errorf("router address %s: not an IPv4 address", addr)
	}
	lo, err := r.nl.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("router address %s: %w", addr, err)
	}
	if err := setAddrs(r.nl, lo, AddrLabel, netlink.Addr{IPNet: toIPNet(host(addr))}); err != nil {
		return fmt.Errorf("router address %s: %w", addr, err)
	}
	return nil
}
