package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
)

// Config is where and as whom to reach etcd.
type Config struct {
	Environment string
	Endpoints   []string      // URLs: https with TLS, http without
	TLS         *tls.Config   // nil: plaintext
	Self        string        // this host's ID; empty: no lease and no publisher
	ListEvery   time.Duration // how often everything is listed again; 0: 60 s
	LeaseTTL    time.Duration // of alive/<self>, in whole seconds; 0: 20 s
	ClaimGrace  time.Duration // how long a claim may be in etcd before the Checkpoint has it; 0: 2 min
	// RemovalGrace is how long a removed host's claims are kept, for it may not know yet; 0: 10 min.
	RemovalGrace time.Duration
	// Members is how many members the embedded etcd is to have; 0 or 1: it does not grow.
	Members int
	// Around is called around each change in etcd; nil in an agent.
	Around Around

	refuse func(host string) bool // whose server is not to be talked to
	opened chan struct{}          // poked when a watch is opened
}

// pingEvery is how often the lease is kept alive, which also shows that etcd is there.
func (c Config) pingEvery() time.Duration { return c.LeaseTTL / 4 }

// Store is the etcd side: snapshots of the facts, claims, and the publisher. All methods may be called concurrently.
type Store struct {
	cfg    Config
	prefix string
	client *clientv3.Client
	urls   atomic.Pointer[[]string] // of etcd, now
	cp     *Checkpoint
	log    *logrus.Entry

	snapshot atomic.Pointer[Snapshot]
	notifier
	health  health
	refresh chan struct{}
	lostCA  chan struct{} // etcd holds no authority that is known here
	opened  chan struct{} // the client has opened a watch, perhaps on a new connection

	alarmed      atomic.Bool  // etcd has refused a write because of an alarm, and has taken none since
	aliveSeen    atomic.Int64 // the last revision of this host's alive key that was seen
	aliveChanged chan struct{}
	settled      atomic.Pointer[time.Time] // from when on this host publishes
	twin         atomic.Pointer[twin]

	restored atomic.Pointer[time.Time] // when etcd was last seen to have lost something

	host       atomic.Pointer[Host] // what SetHost was given
	own        ownFacts
	keeper     *keeper // of Run
	sealer     sealer
	trust      trust
	publish    chan struct{}
	conflicts  atomic.Pointer[map[string]string]
	complaints sync.Map // errors logged once
	closeOnce  sync.Once
}

// Open returns a Store that works once Run runs. It does not wait for etcd: until then the Snapshot is the one on disk.
func Open(cfg Config, cp *Checkpoint, log *logrus.Entry) (*Store, error) {
	if err := CheckName(cfg.Environment); err != nil {
		return nil, fmt.Errorf("environment: %w", err)
	}
	if cfg.Self != "" {
		if err := CheckHostID(cfg.Self); err != nil {
			return nil, err
		}
	}
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("etcd: no endpoints")
	}
	cfg.ListEvery = orDefault(cfg.ListEvery, time.Minute)
	cfg.LeaseTTL = orDefault(cfg.LeaseTTL, 20*time.Second)
	cfg.ClaimGrace = orDefault(cfg.ClaimGrace, 2*time.Minute)
	cfg.RemovalGrace = orDefault(cfg.RemovalGrace, 10*time.Minute)
	s := &Store{
		prefix: Prefix(cfg.Environment), cp: cp, log: log,
		refresh: make(chan struct{}, 1),
		lostCA:  make(chan struct{}, 1),
		opened:  make(chan struct{}, 1),

		aliveChanged: make(chan struct{}, 1),
		publish:      make(chan struct{}, 1),
	}
	saved, size, err := cp.loadWithTail(cfg.Environment)
	if err != nil {
		log.WithError(err).Warn("snapshot on disk not used, or not all of it")
	}
	if saved == nil {
		saved = &Snapshot{}
	}
	if cfg.Members > 0 { // since the token was made others have become members, and those of then may be gone
		cfg.Endpoints = slices.Compact(slices.Sorted(slices.Values(slices.Concat(cfg.Endpoints, saved.MemberURLs()))))
	}
	cfg.refuse = func(host string) bool { _, out := s.Snapshot().Revoked[host]; return out }
	cfg.opened = s.opened
	s.cfg = cfg
	s.urls.Store(&cfg.Endpoints)
	s.own.init(cfg.Self)
	s.keeper = &keeper{cp: cp, environment: cfg.Environment, kept: saved, tail: tail{path: cp.tailPath(), size: size, around: cp.around}}
	s.snapshot.Store(saved)
	s.trust.init(cfg.Environment, func() Identity { return cp.Local().Identity }, saved)
	s.trust.adopt = cp.adoptAuthority
	s.client, err = newClient(cfg)
	return s, err
}

func orDefault(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}

// Run lists, watches and publishes until ctx ends; then it saves the snapshot and gives the lease back. It returns nil
// when ctx ended: without etcd it tries for ever. Call it once; the Checkpoint must stay open until it returns.
func (s *Store) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.follow(ctx) })
	group.Go(func() error { return s.save(ctx) })
	group.Go(func() error { return s.stayAlive(ctx) })
	if s.cfg.Self != "" {
		group.Go(func() error { return s.publishAll(ctx) })
		group.Go(func() error { return s.sweepRemoved(ctx) })
		group.Go(func() error { return s.keepCerts(ctx) })
		group.Go(func() error { return s.keepAuthority(ctx) })
		group.Go(func() error { return s.keepServers(ctx) })
	}
	return errors.Join(group.Wait(), s.Close())
}

// Close frees the connections of a Store. Run does it when it ends; only a Store that never ran needs it.
func (s *Store) Close() error {
	var err error
	s.closeOnce.Do(func() { err = s.client.Close() })
	if errors.Is(err, context.Canceled) { // the client's way to say that it is closed
		return nil
	}
	return err
}

// Snapshot returns the latest facts, never nil.
func (s *Store) Snapshot() *Snapshot { return s.snapshot.Load() }

// Subscribe returns a channel of its own that holds one value when the Snapshot was swapped since the last receive.
func (s *Store) Subscribe() <-chan struct{} { return s.subscribe() }

// Refresh asks for a full list now, without waiting for it.
func (s *Store) Refresh() { poke(s.refresh) }

// SetHost sets this host's fact, which the publisher writes; ID and version are filled in.
func (s *Store) SetHost(h Host) {
	h.V, h.ID = Version, s.cfg.Self
	s.host.Store(&h)
	poke(s.publish)
}

// Conflicts returns the claims of this host that etcd gives to another one: key below Prefix → that host's ID.
func (s *Store) Conflicts() map[string]string {
	if c := s.conflicts.Load(); c != nil {
		return *c
	}
	return nil
}

// Endpoints are the URLs of etcd, at present.
func (s *Store) Endpoints() []string { return *s.urls.Load() }

// SetEndpoints says where etcd is from now on, once etcd was asked for the first time: call it again. Calls under way go on.
func (s *Store) SetEndpoints(urls []string) {
	s.health.mu.Lock()
	asked := s.health.asked
	s.health.mu.Unlock()
	if len(urls) == 0 || slices.Equal(urls, s.Endpoints()) || !asked { // etcd's client takes no others before its first call
		return
	}
	s.urls.Store(&urls)
	s.client.SetEndpoints(urls...)
}

func (s *Store) where() string { return strings.Join(s.Endpoints(), ", ") }

func (s *Store) key(k factKey) string { return s.prefix + k.String() }
