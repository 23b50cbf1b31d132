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
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/server/v3/embed"
)

const (
	embedQuota     = 2 << 30 // bytes; a full one refuses writes
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
	Log        *logrus.Entry
}

// Embedded is a running etcd server in this process: mutual TLS, one member (further ones can be added later).
type Embedded struct {
	cfg       EmbedConfig
	endpoints []string
	gate      *gate

	mu     sync.Mutex // one start or end at a time
	etcd   *embed.Etcd
	bridge *zapBridge
	closed bool
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

// Trust starts the server anew, in about a second, so that it believes and shows another authority. It does nothing where that is
// the present one. After an error the server is down until the next call.
func (e *Embedded) Trust(ctx context.Context, ca CA) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.etcd != nil && bytes.Equal(e.cfg.CA.Cert, ca.Cert) {
		return nil
	}
	e.stop()
	e.cfg.CA = ca
	return e.start(ctx)
}

func (e *Embedded) start(ctx context.Context) error {
	cfg := e.cfg
	files, err := writeServerCert(cfg)
	if err != nil {
		return fmt.Errorf("embedded etcd: certificate: %w", err)
	}
	bridge := newZapBridge(cfg.Log)
	config := cfg.embed(files, bridge)
	config.GRPCAdditionalServerOptions = e.gate.options()
	etcd, err := startEtcd(ctx, config, bridge)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("embedded etcd: %w: set ETCD_PORT and ETCD_PEER_PORT to free ports", err)
	case err != nil:
		return fmt.Errorf("embedded etcd: %w", err)
	}
	e.etcd, e.bridge = etcd, bridge
	e.gate.stands(cfg.CA, etcd.Server.Range)
	select {
	case <-etcd.Server.ReadyNotify():
	case <-etcd.Server.StopNotify():
		e.stop()
		return fmt.Errorf("embedded etcd: stopped by itself: %s", bridge.worst())
	case <-ctx.Done():
		e.stop()
		return fmt.Errorf("embedded etcd: not ready in time: %w", ctx.Err())
	}
	go func() {
		for err := range etcd.Err() {
			if !bridge.isMuted() {
				cfg.Log.WithError(err).Error("embedded etcd")
			}
		}
	}()
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
	etcd := e.etcd
	if etcd == nil {
		return
	}
	e.etcd = nil
	e.bridge.mute()
	for _, l := range etcd.Clients {
		l.Close()
	}
	for _, l := range etcd.Peers {
		l.Close()
	}
	etcd.Server.Stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		etcd.Close() // waits for open watches
	}()
	select {
	case <-done:
	case <-time.After(embedClose):
	}
}

// embed gives etcd's own configuration.
func (cfg EmbedConfig) embed(files certFiles, bridge *zapBridge) *embed.Config {
	c := embed.NewConfig()
	c.Dir, c.Name = cfg.Dir, cfg.Name
	c.ListenClientUrls, c.ListenPeerUrls = nil, nil
	for _, a := range cfg.Addrs {
		c.ListenClientUrls = append(c.ListenClientUrls, serverURL(a, cfg.ClientPort))
		c.ListenPeerUrls = append(c.ListenPeerUrls, serverURL(a, cfg.PeerPort))
	}
	c.AdvertiseClientUrls, c.AdvertisePeerUrls = c.ListenClientUrls, c.ListenPeerUrls[:1]
	c.InitialCluster = cfg.Name + "=" + c.AdvertisePeerUrls[0].String()
	// The cluster's ID is made of this: a new data directory must not look like the old cluster.
	c.InitialClusterToken = "meshsec-" + NewHostID()
	tls := &c.ClientTLSInfo
	tls.CertFile, tls.KeyFile, tls.TrustedCAFile, tls.ClientCertAuth = files.cert, files.key, files.ca, true
	c.PeerTLSInfo = c.ClientTLSInfo
	c.PeerTLSInfo.ServerName = ServerName
	c.PeerTLSInfo.AllowedHostnames = []string{ServerName} // a host's certificate makes it a client, not a member
	c.TlsMinVersion = "TLS1.3"
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModePeriodic, embedRetention
	c.QuotaBackendBytes = embedQuota
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
		return nil, fmt.Errorf("not started in time: %w", ctx.Err())
	}
}
