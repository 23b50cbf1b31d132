package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/server/v3/embed"
)

const (
	embedQuota     = 2 << 30 // bytes; a full one refuses writes until there is room, see keepSpace
	embedRetention = "1h"    // of old revisions; a watch that is further behind lists again
	embedClose     = 2 * time.Second
)

// EmbedConfig is what the embedded etcd server needs.
type EmbedConfig struct {
	Dir        string       // its data, certificate and key; mode 0700
	Name       string       // of the member: the host ID
	Addrs      []netip.Addr // to listen on, the one to advertise first
	ClientPort int          // setting ETCD_PORT
	PeerPort   int          // setting ETCD_PEER_PORT
	CA         CA           // issues the server's certificate; without its key the one that is there goes on
	Cert       []byte       // of the server, PEM, where the authority's key is not here; nil: the one that is there
	Key        Secret       // of Cert, PEM
	// Join are the members of the cluster that this one is to join, itself among them, as etcd writes them
	// (name=URL,name=URL); empty: its own data tells, and without any it begins a cluster of its own.
	Join string
	// Alone makes a cluster of this member only out of its data, whatever other members that names.
	Alone   bool
	Log     *logrus.Entry
	maxSize int64 // of the data, in bytes; 0: embedQuota
}

// Embedded is a running etcd server in this process, a member of the embedded etcd: mutual TLS, a gate before its clients, and a
// door before the other members.
type Embedded struct {
	cfg       EmbedConfig
	endpoints []string
	gate      *gate
	peers     atomic.Pointer[peers]

	mu     sync.Mutex // one start or end at a time
	closed bool
	now    atomic.Pointer[serving]
}

// serving is one run of the server.
type serving struct {
	etcd   *embed.Etcd
	bridge *zapBridge
	door   *door
}

// StartEmbedded starts the server and returns when it answers, or with an error that says what is wrong. It never ends
// the process, as etcd by itself would on a damaged data directory.
func StartEmbedded(ctx context.Context, cfg EmbedConfig) (*Embedded, error) {
	if len(cfg.Addrs) == 0 {
		return nil, errors.New("embedded etcd: no address to listen on")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded etcd: %w", err)
	}
	e := &Embedded{cfg: cfg, gate: newGate(cfg.Name)}
	for _, a := range cfg.Addrs {
		u := serverURL(a, cfg.ClientPort)
		e.endpoints = append(e.endpoints, u.String())
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.start(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// Trust starts the server anew, in about a second, so that it believes another authority and shows a certificate of it (PEM, for
// the key in EmbedConfig; nil: it issues one, or keeps its own). It does nothing where that is the case. After an error the server
// is down until the next call.
func (e *Embedded) Trust(ctx context.Context, ca CA, cert []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	same := bytes.Equal(e.cfg.CA.Cert, ca.Cert)
	e.cfg.CA, e.cfg.Cert = ca, cert
	if e.closed || e.now.Load() != nil && same && !e.cfg.outdated() {
		return nil
	}
	e.stop()
	return e.start(ctx)
}

func (e *Embedded) start(ctx context.Context) error {
	cfg := e.cfg
	e.cfg.Alone = false // once: by the next start it may have company
	files, err := writeServerCert(cfg)
	if err != nil {
		return fmt.Errorf("embedded etcd: certificate: %w", err)
	}
	door, err := openDoor(cfg, files, e.mayEnter)
	var etcd *embed.Etcd
	bridge := newZapBridge(cfg.Log)
	if err == nil {
		config := cfg.embed(files, door.inside, bridge)
		config.GRPCAdditionalServerOptions = e.gate.options()
		if etcd, err = startEtcd(ctx, config, bridge); err != nil {
			door.close()
		}
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("embedded etcd: %w: set ETCD_PORT and ETCD_PEER_PORT to free ports", err)
	case err != nil:
		return fmt.Errorf("embedded etcd: %w", err)
	}
	e.now.Store(&serving{etcd, bridge, door})
	e.gate.stands(cfg.CA, etcd.Server.Range)
	door.serve()
	if len(etcd.Server.Cluster().Members()) == 1 { // with more it is up to the others when it answers
		err = e.await(ctx, etcd, bridge)
	}
	if err == nil {
		go e.now.Load().keepSpace(cfg)
		go func() {
			for err := range etcd.Err() {
				if !bridge.isMuted() {
					cfg.Log.WithError(err).Error("embedded etcd")
				}
			}
		}()
	}
	return err
}

// await waits until the only member answers.
func (e *Embedded) await(ctx context.Context, etcd *embed.Etcd, bridge *zapBridge) error {
	select {
	case <-etcd.Server.ReadyNotify():
	case <-etcd.Server.StopNotify():
		e.stop()
		return fmt.Errorf("embedded etcd: stopped by itself: %s", bridge.worst())
	case <-ctx.Done():
		e.stop()
		return fmt.Errorf("embedded etcd: not ready in time: %w", ctx.Err())
	}
	return nil
}

// Endpoints are the URLs that clients use, the advertised one first.
func (e *Embedded) Endpoints() []string { return e.endpoints }

// ShutOut ends the access of removed hosts, also their open watches, and refuses them as long as the server runs. They may
// still read that they were removed.
func (e *Embedded) ShutOut(hosts []string) { e.gate.shutOut(hosts) }

// Close stops the server. It returns when the data is safe and the ports are free; clients that still hang on it are cut
// off in the background.
func (e *Embedded) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.stop()
}

func (e *Embedded) stop() {
	s := e.now.Swap(nil)
	if s == nil {
		return
	}
	etcd := s.etcd
	s.bridge.mute()
	for _, l := range etcd.Clients {
		l.Close()
	}
	// Handing the leadership over takes long when the others don't answer, and a server that is broken never ends.
	within(embedClose, etcd.Server.Stop)
	within(embedClose, etcd.Server.HardStop)
	for _, l := range etcd.Peers {
		l.Close()
	}
	s.door.close()
	within(embedClose, etcd.Close) // waits for open watches
}

// within waits so long for the end of fn, and leaves it alone then.
func within(limit time.Duration, fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// embed gives etcd's own configuration.
func (cfg EmbedConfig) embed(files certFiles, inside string, bridge *zapBridge) *embed.Config {
	c := embed.NewConfig()
	c.Dir, c.Name = cfg.Dir, cfg.Name
	c.ListenClientUrls = nil
	for _, a := range cfg.Addrs {
		c.ListenClientUrls = append(c.ListenClientUrls, serverURL(a, cfg.ClientPort))
	}
	c.ListenPeerUrls = []url.URL{{Scheme: "unix", Host: inside}}
	c.AdvertiseClientUrls, c.AdvertisePeerUrls = c.ListenClientUrls, []url.URL{serverURL(cfg.Addrs[0], cfg.PeerPort)}
	c.InitialCluster = cfg.Name + "=" + c.AdvertisePeerUrls[0].String()
	if cfg.Join != "" {
		c.InitialCluster, c.ClusterState = cfg.Join, embed.ClusterStateFlagExisting
	}
	c.ForceNewCluster = cfg.Alone
	c.MaxLearners = maxLearners
	// The cluster's ID is made of this: a new data directory must not look like the old cluster.
	c.InitialClusterToken = "meshsec-" + NewHostID()
	tls := &c.ClientTLSInfo
	tls.CertFile, tls.KeyFile, tls.TrustedCAFile, tls.ClientCertAuth = files.cert, files.key, files.ca, true
	c.PeerTLSInfo = c.ClientTLSInfo
	c.PeerTLSInfo.ServerName = ServerName
	c.PeerTLSInfo.AllowedHostnames = []string{ServerName}
	c.TlsMinVersion = "TLS1.3"
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModePeriodic, embedRetention
	c.QuotaBackendBytes = cfg.quota()
	c.MaxTxnOps = batchOps
	c.EnableGRPCGateway = false
	c.WatchProgressNotifyInterval = 10 * time.Second
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(bridge.logger())
	return c
}

func serverURL(addr netip.Addr, port int) url.URL {
	return url.URL{Scheme: "https", Host: net.JoinHostPort(addr.String(), strconv.Itoa(port))}
}

// startEtcd runs embed.StartEtcd in a goroutine, for etcd's fatal errors end the goroutine that they happen in; when it is
// another one, the start hangs for ever, with its ports.
func startEtcd(ctx context.Context, c *embed.Config, bridge *zapBridge) (*embed.Etcd, error) {
	type result struct {
		etcd *embed.Etcd
		err  error
	}
	done := make(chan result, 1)
	go func() {
		r := result{err: errors.New("ended while it started")} // if that is what happens
		defer func() { done <- r }()
		defer func() {
			if cause := recover(); cause != nil {
				r.err = fmt.Errorf("%v", cause)
			}
		}()
		r.etcd, r.err = embed.StartEtcd(c)
	}()
	select {
	case r := <-done:
		if worst := bridge.worst(); r.err != nil && worst != "" {
			r.err = fmt.Errorf("%w: %s", r.err, worst)
		}
		return r.etcd, r.err
	case <-bridge.fatal:
		return nil, errors.New(bridge.worst())
	case <-ctx.Done():
		go func() { // it may come up yet, and would keep the ports and the data
			if r := <-done; r.etcd != nil {
				r.etcd.Close()
			}
		}()
		return nil, fmt.Errorf("not started in time: %w", ctx.Err())
	}
}
