// Package teststore gives tests of the drivers real stores: an etcd in the test's process, and hosts with a checkpoint and
// a running store each.
package teststore

import (
	"context"
	"io"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/internal/freeport"
	"github.com/meshsec/meshsec/store"
)

// Environment is an etcd and the authority of its hosts. It ends with the test.
type Environment struct {
	// RemovalGrace is how long a removed host's claims are kept, for hosts made from now on. 0: the store's default.
	RemovalGrace time.Duration
	// LeaseTTL is that of hosts made from now on, which ask etcd for nothing for a quarter of it. 0: the store's default.
	LeaseTTL time.Duration

	t       testing.TB
	config  store.EmbedConfig
	backups int
	etcd    *store.Embedded
	ca      store.CA
	once    sync.Once
}

// Name is the name of every Environment.
const Name = "test"

// claimGrace is less than a Wait: an address that is let go before the publisher has looked keeps its claim for so long.
const claimGrace = 5 * time.Second

// New starts an etcd on loopback.
func New(t testing.TB) *Environment {
	t.Helper()
	ca, err := store.NewCA(Name)
	if err != nil {
		t.Fatal(err)
	}
	e := &Environment{t: t, ca: ca, config: store.EmbedConfig{
		Dir: filepath.Join(t.TempDir(), "etcd"), Name: store.NewHostID(), Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		ClientPort: freeport.Port(t), PeerPort: freeport.Port(t), CA: ca, Log: quiet(),
	}}
	e.start()
	t.Cleanup(e.StopEtcd)
	return e
}

func (e *Environment) start() {
	e.t.Helper()
	var err error
	if e.etcd, err = store.StartEmbedded(e.t.Context(), e.config); err != nil {
		e.t.Fatal(err)
	}
}

// StopEtcd makes etcd go away for good.
func (e *Environment) StopEtcd() { e.once.Do(func() { e.etcd.Close() }) }

func quiet() *logrus.Entry {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return logrus.NewEntry(log)
}

// Host is one with a checkpoint and a running Store.
type Host struct {
	ID         string
	Checkpoint *store.Checkpoint
	Store      *store.Store

	e         *Environment
	endpoints []string
	grace     time.Duration
	lease     time.Duration
	path      string
	stop      func()
}

// Host makes a host of this name and waits for its first snapshot. It has published its fact.
func (e *Environment) Host(name string) *Host {
	e.t.Helper()
	return e.host(store.NewHostID(), name, e.etcd.Endpoints())
}

func (e *Environment) host(id, name string, endpoints []string) *Host {
	e.t.Helper()
	h := &Host{e: e, ID: id, endpoints: endpoints, grace: e.RemovalGrace, lease: e.LeaseTTL, path: filepath.Join(e.t.TempDir(), "checkpoint")}
	cert, key, err := e.ca.Issue(h.ID, name, time.Hour)
	if err != nil {
		e.t.Fatal(err)
	}
	h.open()
	err = h.Checkpoint.Update(func(l *store.Local) error {
		l.Identity = store.Identity{Environment: Name, HostID: h.ID, HostName: name, Cert: cert, Key: store.Secret{Bytes: key}, CA: e.ca.Cert}
		return nil
	})
	if err != nil {
		e.t.Fatal(err)
	}
	h.run()
	h.Store.SetHost(store.Host{V: store.Version, ID: h.ID, Name: name})
	h.Wait("the host's own fact", func() bool { return h.Store.Snapshot().Hosts[h.ID].Name == name })
	e.t.Cleanup(func() { h.Stop() })
	return h
}

func (h *Host) open() {
	var err error
	if h.Checkpoint, err = store.OpenCheckpoint(h.path); err != nil {
		h.e.t.Fatal(err)
	}
}

func (h *Host) run() {
	tls, err := h.Checkpoint.Local().Identity.ClientTLS()
	if err != nil {
		h.e.t.Fatal(err)
	}
	h.Store, err = store.Open(store.Config{Environment: Name, Endpoints: h.endpoints, TLS: tls, Self: h.ID,
		ClaimGrace: claimGrace, RemovalGrace: h.grace, LeaseTTL: h.lease}, h.Checkpoint, quiet())
	if err != nil {
		h.e.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Store.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		_ = h.Store.Close()
		_ = h.Checkpoint.Close()
	})
}

// Stop ends the store and closes the checkpoint.
func (h *Host) Stop() { h.stop() }

// Restart does what a restart of the agent does to the two: all that is not on disk is gone.
func (h *Host) Restart() {
	h.e.t.Helper()
	h.Stop()
	h.open()
	h.run()
}

// Local is what the checkpoint holds.
func (h *Host) Local() *store.Local { return h.Checkpoint.Local() }

// Wait waits for a condition, and fails the test if it does not come.
func (h *Host) Wait(what string, ok func() bool) {
	h.e.t.Helper()
	Wait(h.e.t, what, ok)
}

// Wait waits for a condition, and fails the test if it does not come.
func Wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(15 * time.Second)
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
