package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/network"
	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/driver"
	"github.com/meshsec/meshsec/engine"
	"github.com/meshsec/meshsec/internal/freeport"
	"github.com/meshsec/meshsec/ipam"
	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

// wait bounds every wait for a condition in these tests: some of what was in the way of one round goes with the next, which
// comes within a minute.
const wait = 100 * time.Second

// links is a router namespace that only remembers, by the names of the routers' ends.
type links struct {
	mu    sync.Mutex
	veths map[string]link.Veth
}

func (l *links) EnsureBridge(link.Bridge) error { return nil }

func (l *links) AddVeth(v link.Veth) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.veths[v.RouterEnd] = v
	return nil
}

func (l *links) DelVeth(_, routerEnd string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.veths, routerEnd)
	return nil
}

func (l *links) GiveService(string, string) error { return nil }

func (l *links) Veths() ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.veths)), nil
}

// cluster is one embedded etcd for all replays, each of which has an environment of its own.
type cluster struct {
	id        store.Identity
	endpoints []string
	scope     string         // of the driver
	engine    *engine.Client // of each rig; nil: there is no API
}

// The IDs of the two hosts. By them a host chooses where it looks for a block: with these not where the traces ask for a single address.
const (
	firstHost  = "aaaaaaaaaaaaaaaa"
	secondHost = "bbbbbbbbbbbbbbbb"
)

func startCluster(t *testing.T) cluster {
	t.Helper()
	id, err := store.FoundIdentity("replay", firstHost, "a")
	if err != nil {
		t.Fatal(err)
	}
	ca, err := id.Authority()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	e, err := store.StartEmbedded(ctx, store.EmbedConfig{
		Dir: t.TempDir(), Name: id.HostID, Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		ClientPort: freeport.Port(t), PeerPort: freeport.Port(t), CA: ca, Log: quiet(io.Discard),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return cluster{id: id, endpoints: e.Endpoints()}
}

// second is the cluster for a second host.
func (c cluster) second(t *testing.T) cluster {
	t.Helper()
	ca, err := c.id.Authority()
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Issue(secondHost, "b", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c.id = store.Identity{Environment: c.id.Environment, HostID: secondHost, HostName: "b", Cert: cert, Key: store.Secret{Bytes: key}, CA: c.id.CA}
	return c
}

// rig is a host's plugin with both drivers and the store behind it; only the links are not real.
type rig struct {
	*docker
	c           cluster
	environment string
	path        string // of the checkpoint
	images      int
	mortal      *mortal        // nil: killed by other means, if at all
	engine      *engine.Client // nil: it has no API
	cp          *store.Checkpoint
	st          *store.Store
	links       *links
	stop        func() error // ends what runs and waits for it
	later       atomic.Int64 // how far the drivers' clock is ahead, in nanoseconds
}

// host starts a rig in the named environment.
func (c cluster) host(t *testing.T, environment string) *rig {
	t.Helper()
	r := c.machine(t, environment)
	cp, err := store.OpenCheckpoint(r.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := cp.Update(func(l *store.Local) error { l.Identity = c.id; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := cp.Close(); err != nil {
		t.Fatal(err)
	}
	r.run(t)
	return r
}

// machine is a rig whose agent was never started.
func (c cluster) machine(t *testing.T, environment string) *rig {
	t.Helper()
	r := &rig{c: c, engine: c.engine, environment: environment, path: filepath.Join(t.TempDir(), "replay.db"), links: &links{veths: map[string]link.Veth{}}}
	s := New(socket(t), quiet(io.Discard), Options{Scope: c.scope})
	s.limit = wait // the machine may be busy; that the limit holds is tested elsewhere
	r.docker = serve(t, s)
	r.stop = func() error { return nil }
	t.Cleanup(func() {
		if err := r.stop(); err != nil && !r.mortal.isDead() {
			t.Error(err)
		}
	})
	return r
}

// run does what the agent does at its start.
func (r *rig) run(t *testing.T) {
	t.Helper()
	if err := r.try(t); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) try(t *testing.T) error {
	t.Helper()
	cp, err := store.OpenCheckpointAround(r.path, r.mortal.around())
	if err != nil {
		return err
	}
	tls, err := r.c.id.ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	log := quiet(io.Discard)
	st, err := store.Open(store.Config{Environment: r.environment, Endpoints: r.c.endpoints, TLS: tls, Self: r.c.id.HostID, ClaimGrace: 2 * time.Second, Around: r.mortal.around()}, cp, log)
	if err != nil {
		t.Fatal(err)
	}
	r.cp, r.st = cp, st
	pools := []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")}
	for i := range 16 {
		pools = append(pools, netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", 200+i)))
	}
	networks := driver.New(st, cp, mortalLinks{r.links, r.mortal}, driver.Options{MTU: func() int { return 1438 }, Docker: r.engine, Now: r.now, Log: log})
	addresses := ipam.New(st, cp, ipam.Options{Pools: pools, Now: r.now, Abandoned: networks.Abandoned, Restore: networks.Restore,
		Managed: r.c.scope == network.GlobalScope, Log: log})

	ctx, cancel := context.WithCancel(context.Background())
	group, ctx := errgroup.WithContext(ctx)
	for _, run := range []func(context.Context) error{st.Run, addresses.Run, networks.Run} {
		group.Go(func() error { return run(ctx) })
	}
	r.stop = func() error {
		cancel()
		return errors.Join(group.Wait(), cp.Close())
	}
	r.SetBackend(networks, addresses)
	return nil
}

func (r *rig) now() time.Time { return time.Now().Add(time.Duration(r.later.Load())) }

// crash does what kill -9 and the next start do: etcd hears nothing more, also no farewell, all that is not on disk is lost, and
// the links stay. The socket's server, which knows nothing of networks, stays, too.
func (r *rig) crash(t *testing.T) {
	t.Helper()
	_ = r.st.Close()
	r.start(t, r.image(t))
}

// image writes down what is on the disk now, and says where.
func (r *rig) image(t *testing.T) (path string) {
	t.Helper()
	r.images++
	path = fmt.Sprintf("%s/replay%d.db", filepath.Dir(r.path), r.images)
	for _, end := range []string{"", ".snapshot", ".snapshot.tail"} {
		if _, err := os.Stat(r.path + end); errors.Is(err, os.ErrNotExist) {
			continue // nothing to go on from yet
		}
		if err := os.WriteFile(path+end, still(t, r.path+end), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// start starts a new agent, with an image of the old one's disk.
func (r *rig) start(t *testing.T, image string) {
	t.Helper()
	_ = r.st.Close()
	_ = r.stop() // what it writes now goes to files that nobody reads again
	r.path = image
	r.run(t)
}

// still is what a file that is being written holds at one moment.
func still(t *testing.T, path string) []byte {
	t.Helper()
	for before := []byte(nil); ; {
		now, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(before, now) {
			return now
		}
		before = now
	}
}

// until waits for check to find nothing.
func (r *rig) until(t *testing.T, what string, check func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	facts, own := r.st.Subscribe(), r.cp.Subscribe()
	for {
		found := check()
		if found == "" {
			return
		}
		select {
		case <-facts:
		case <-own:
		case <-ctx.Done():
			t.Fatalf("%s: %s", what, found)
		}
	}
}
