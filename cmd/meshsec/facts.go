package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/meshsec/meshsec/store"
)

// etcdWait bounds the look for etcd at a first start; then the start is tried again.
const etcdWait = 5 * time.Second

// openStore starts the embedded etcd where it belongs and opens the facts. A host that knows its router address does
// not wait for etcd: its checkpoint is enough. say tells what is waited for.
func (n *node) openStore(ctx context.Context, p paths, say func(string)) error {
	at, err := n.findEtcd(ctx, p)
	if err != nil {
		return err
	}
	cfg := store.Config{Environment: n.set.Environment, Endpoints: n.etcd, TLS: at.tls, Self: n.id.HostID,
		RemovalGrace: min(removalGrace, n.set.HostGrace)}
	if at.embedded {
		cfg.Members = n.set.EtcdMembers
	}
	if n.store, err = store.Open(cfg, n.checkpoint, n.log); err != nil {
		if at.first != nil {
			at.first.Close() // no membership has it yet that would
		}
		return err
	}
	n.closers = append(n.closers, n.store.Close)
	if at.embedded {
		n.members = store.NewMembership(n.store, n.checkpoint, n.embedConfig(p), at.first, n.etcd, store.CouncilTimes{})
		n.closers = append(n.closers, n.members.Close)
	}
	say("reaching etcd at " + strings.Join(n.etcd, ", "))
	if !n.id.Router.IsValid() {
		if err := n.enter(ctx, cfg); err != nil { // before anything is published
			return err
		}
	}
	n.group.Go(func() error { return n.store.Run(ctx) })
	if n.members != nil {
		n.group.Go(func() error { return n.members.Run(ctx) })
	}
	return nil
}

// etcdAt is how etcd is reached. Where it is, is in node.etcd.
type etcdAt struct {
	tls      *tls.Config
	embedded bool            // it is the environment's own
	first    *store.Embedded // its only member, which runs here
}

// findEtcd settles where etcd is: as set, in this process, or where the token says.
func (n *node) findEtcd(ctx context.Context, p paths) (at etcdAt, err error) {
	if n.etcd = n.set.Etcd; len(n.etcd) > 0 && (len(n.id.Endpoints) == 0 || n.set.EtcdCA != "" || n.set.EtcdCert != "" || allPlain(n.etcd)) {
		at.tls, err = n.externalTLS(p)
		return at, err
	}
	at.embedded = true // if ETCD is set, it is at another address than the token says
	if len(n.etcd) == 0 {
		n.etcd = n.id.Endpoints
	}
	if n.id.Serves() {
		if err := n.checkpoint.MeetOriginal(ctx, n.embedConfig(p), store.Host{Name: n.id.HostName, Addrs: n.addrs}, n.log); err != nil {
			return at, err
		}
	}
	if len(n.etcd) == 0 {
		if !n.id.Founded() {
			return at, fmt.Errorf("%w ETCD: neither it nor the token says where etcd is: set ETCD as on the other hosts", errSetting)
		}
		// With other members this host's own starts in the background, or not at all, if its data is lost: it must never begin anew.
		if n.etcd = n.checkpoint.OtherMembers(n.set.Environment); len(n.etcd) == 0 {
			cfg := n.embedConfig(p)
			cfg.CA = n.id.Trusted()
			if at.first, err = store.StartEmbedded(ctx, cfg); err != nil {
				return at, err
			}
			n.etcd = at.first.Endpoints()
		}
	}
	if at.tls, err = n.checkpoint.ClientTLS(); err != nil && at.first != nil {
		at.first.Close()
	}
	return at, err
}

// externalTLS is how an etcd of the operator's own is reached; nil: in the clear.
func (n *node) externalTLS(p paths) (*tls.Config, error) {
	if n.set.EtcdCA == "" && n.set.EtcdCert == "" && allPlain(n.etcd) {
		return nil, nil
	}
	if err := n.checkTLSFiles(p); err != nil {
		return nil, err
	}
	c, err := n.checkpoint.ExternalTLS(p.host(n.set.EtcdCA), p.host(n.set.EtcdCert), p.host(n.set.EtcdKey))
	if err != nil {
		return nil, fmt.Errorf("%w ETCD: %w", errSetting, err)
	}
	return c, nil
}

// embedConfig is how this host's member of the embedded etcd runs.
func (n *node) embedConfig(p paths) store.EmbedConfig {
	return store.EmbedConfig{Dir: etcdDir(p), Name: n.id.HostID, Addrs: n.addrs, ClientPort: n.set.EtcdPort, PeerPort: n.set.EtcdPeerPort, Log: n.log}
}

// checkTLSFiles names the setting and the operator's own path of a file that can't be read.
func (n *node) checkTLSFiles(p paths) error {
	var errs []error
	for name, path := range map[string]string{"ETCD_CA": n.set.EtcdCA, "ETCD_CERT": n.set.EtcdCert, "ETCD_KEY": n.set.EtcdKey} {
		if path == "" {
			continue
		}
		f, err := os.Open(p.host(path))
		if err != nil {
			var where *fs.PathError
			if errors.As(err, &where) {
				err = where.Err
			}
			hint := ""
			if p.managed && p.host(path) == path {
				hint = " (the plugin sees only /etc and /run of the host)"
			}
			errs = append(errs, fmt.Errorf("%w %s=%s: %w%s", errSetting, name, path, err, hint))
			continue
		}
		_ = f.Close()
	}
	return errors.Join(errs...)
}

func allPlain(endpoints []string) bool {
	for _, e := range endpoints {
		if len(e) > 8 && e[:8] == "https://" {
			return false
		}
	}
	return true
}

// enter makes this host a member: the environment's authority is this host's own, or agrees with its token, which no
// other machine uses, and it has a router address.
func (n *node) enter(ctx context.Context, cfg store.Config) error {
	ctx, cancel := context.WithTimeout(ctx, etcdWait)
	defer cancel()
	var err error
	if !n.id.Founded() {
		if err = n.store.Verify(ctx); err == nil {
			err = alone(ctx, cfg, n.id, n.checkpoint, n.log)
		}
	} else {
		err = n.store.Found(ctx)
	}
	if err != nil {
		return err
	}
	router, err := n.store.ClaimRouter(ctx, n.set.Routers)
	if err != nil {
		return fmt.Errorf("router address from %s: %w", n.set.Routers, err)
	}
	n.id.Router = router
	return n.checkpoint.Update(func(l *store.Local) error {
		l.Identity.Router = router
		return nil
	})
}

// hostFact is what the other hosts need to know of this one.
func (n *node) hostFact() (store.Host, error) {
	public, err := n.id.Public()
	if err != nil {
		return store.Host{}, err
	}
	cert, err := store.CertDER(n.id.Cert)
	if err != nil {
		return store.Host{}, errors.Join(errors.New("certificate of this host"), err)
	}
	return store.Host{V: store.Version, ID: n.id.HostID, Name: n.id.HostName, OS: runtime.GOOS, Arch: runtime.GOARCH, Version: version,
		DataPlane: n.dataPlane, DataPlaneReason: n.dataPlaneReason, Cert: cert, HandshakeKey: public,
		Addrs: n.addrs, Port: uint16(n.set.Port), Forwards: n.forwards, Encap: n.set.Encap, Router: n.id.Router, UnderlayMTU: n.underlayMTU, Since: n.id.Since, Etcd: n.etcdPorts()}, nil
}
