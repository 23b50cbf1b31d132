package testnet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/internal/engines"
)

// Options say what a cluster is made of.
type Options struct {
	Hosts  int  // made at once; more come with AddHost. 0..253
	Docker bool // a dockerd in each, with the image of Image
	MTU    int  // of the underlay, bytes; 0: 1500
	ESP    bool // the watch lets IP protocol 50 pass between hosts
	Swarm  bool // the watch lets pass what the managers and nodes of a Docker Swarm say to each other
	NAT    bool // there will be NATs, and LANs behind them: the watch lets their ports and addresses pass
}

// Cluster is an underlay with hosts on it. Methods may be called concurrently.
type Cluster struct {
	// Hosts are h1, h2, ... in order.
	Hosts []*Host
	// Outside is the router and the rest of the world: what containers reach through docker_gwbridge.
	Outside *Host

	dir      string // everything on disk
	lock     *os.File
	o        Options
	engine   engines.Set
	image    []byte // tar
	underlay *space
	mu       sync.Mutex // Hosts, nats
	nats     []*NAT
}

// New makes a cluster. Leftovers of earlier runs that were killed are removed first. The caller closes what is returned.
func New(ctx context.Context, o Options) (_ *Cluster, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("test hosts need root")
	}
	sweep(false)
	dir, err := os.MkdirTemp("", dirPrefix)
	if err != nil {
		return nil, err
	}
	if o.MTU == 0 {
		o.MTU = 1500
	}
	c := &Cluster{dir: dir, o: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if c.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	if o.Docker {
		if err := c.findEngine(ctx); err != nil {
			return nil, err
		}
		if c.image, err = imageTar(ctx, dir); err != nil {
			return nil, fmt.Errorf("image: %w", err)
		}
	}
	if c.underlay, err = c.space("underlay"); err != nil {
		return nil, err
	}
	if err := c.setupUnderlay(ctx); err != nil {
		return nil, err
	}
	if c.Outside, err = c.host(ctx, "outside", outsideAddr); err != nil {
		return nil, err
	}
	c.Hosts = make([]*Host, o.Hosts)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := range c.Hosts {
		group.Go(func() (err error) {
			c.Hosts[i], err = c.numbered(ctx, i+1)
			return err
		})
	}
	return c, group.Wait()
}

// AddHost adds the next host.
func (c *Cluster) AddHost(ctx context.Context) (*Host, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, err := c.numbered(ctx, len(c.Hosts)+1)
	if h != nil {
		c.Hosts = append(c.Hosts, h)
	}
	return h, err
}

// numbered makes host n, with its dockerd where asked. It returns a host together with an error when that host must be closed.
func (c *Cluster) numbered(ctx context.Context, n int) (*Host, error) {
	addr := underlayPrefix.Addr().As4()
	addr[3] = byte(n)
	h, err := c.host(ctx, fmt.Sprintf("h%d", n), netip.AddrFrom4(addr))
	if err != nil || !c.o.Docker {
		return h, err
	}
	if err := h.StartDockerd(ctx); err != nil {
		return h, err
	}
	if err := h.sayEngine(ctx); err != nil {
		return h, err
	}
	return h, h.importImage(ctx, c.image)
}

// space makes the namespaces of one host.
func (c *Cluster) space(name string) (*space, error) {
	s, err := newSpace(name, filepath.Join(c.dir, name), "/"+filepath.Base(c.dir)+"/"+name)
	if err == nil && c.o.Docker {
		s.path = c.programs()
	}
	return s, err
}

// Dir is the cluster's directory on the machine: logs and sockets of each host.
func (c *Cluster) Dir() string { return c.dir }

// Stay lets the cluster outlive this program; End, in a later one, takes it down.
func (c *Cluster) Stay() error {
	var errs []error
	for _, s := range c.spaces() {
		errs = append(errs, s.stay())
	}
	return errors.Join(errs...)
}

// Close ends every process of the cluster and removes its traces.
func (c *Cluster) Close() error {
	var group errgroup.Group
	for _, s := range c.spaces() {
		group.Go(func() error { s.close(); return nil })
	}
	_ = group.Wait()
	if c.lock != nil {
		c.lock.Close()
	}
	return removeRun(c.dir)
}

func (c *Cluster) spaces() []*space {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*space
	for _, h := range append([]*Host{c.Outside}, c.Hosts...) {
		if h != nil {
			all = append(all, h.space)
		}
	}
	for _, n := range c.nats {
		all = append(all, n.space)
	}
	if c.underlay != nil {
		all = append(all, c.underlay)
	}
	return all
}
