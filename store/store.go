package store

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"time"

	"github.com/sirupsen/logrus"
)

// ErrUnreachable says that etcd was not reached in the time given; the error's text names the endpoints.
var ErrUnreachable = errors.New("etcd not reached")

// Config is where and as whom to reach etcd.
type Config struct {
	Environment string
	Endpoints   []string      // URLs, https unless TLS is nil
	TLS         *tls.Config   // nil: plaintext
	Self        string        // this host's ID; empty: only read
	ListEvery   time.Duration // how often everything is listed again; 0: 60 s
}

// Store is the etcd side: snapshots of the facts, claims, and the publisher. All methods may be called concurrently.
type Store struct{}

// Open returns a Store that works once Run runs. It does not wait for etcd: the Snapshot is the checkpoint's until then.
func Open(cfg Config, cp *Checkpoint, log *logrus.Entry) (*Store, error) { return &Store{}, nil }

// Run lists, watches and publishes until ctx ends.
func (s *Store) Run(ctx context.Context) error { return nil }

// Close releases a Store whose Run has returned or was never called.
func (s *Store) Close() error { return nil }

// Snapshot returns the latest facts, never nil.
func (s *Store) Snapshot() *Snapshot { return &Snapshot{} }

// Subscribe returns a channel that holds one value when there was a swap since the last receive.
func (s *Store) Subscribe() <-chan struct{} { return nil }

// Refresh asks for a full list now, without waiting for it.
func (s *Store) Refresh() {}

// Healthy says whether etcd was reached lately, and if not, why.
func (s *Store) Healthy() (ok bool, why string) { return false, "" }

// SetHost sets this host's fact, which the publisher writes.
func (s *Store) SetHost(h Host) {}

// CreateNetwork creates the network unless it exists, and returns the one that is there.
func (s *Store) CreateNetwork(ctx context.Context, n Network) (Network, error) { return n, nil }

// DeleteNetwork deletes a network that nobody uses; one that is in use is kept, without an error.
func (s *Store) DeleteNetwork(ctx context.Context, name string) error { return nil }

// ClaimBlock takes a block. owner is the host that owns it now: this one, or the one that was faster.
func (s *Store) ClaimBlock(ctx context.Context, k BlockKey) (owner string, err error) { return "", nil }

// ClaimStatic takes a single address, as ClaimBlock does.
func (s *Store) ClaimStatic(ctx context.Context, k AddrKey) (owner string, err error) {
	return "", nil
}

// ClaimRouter takes a free router address of pool, or returns the one that this host holds already.
func (s *Store) ClaimRouter(ctx context.Context, pool netip.Prefix) (netip.Addr, error) {
	return netip.Addr{}, nil
}

// Found makes ca (PEM) the environment's authority, unless another one is.
func (s *Store) Found(ctx context.Context, ca []byte) error { return nil }

// Verify checks that the environment's authority is ca (PEM).
func (s *Store) Verify(ctx context.Context, ca []byte) error { return nil }

// Conflicts returns claims of this host that etcd gives to another one: key below Prefix → owner.
func (s *Store) Conflicts() map[string]string { return nil }
