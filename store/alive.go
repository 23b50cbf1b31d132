package store

import (
	"context"
	"errors"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	pingTimeout   = 3 * time.Second
	revokeTimeout = 500 * time.Millisecond
)

// stayAlive keeps the lease on alive/<self>. Its regular question also shows whether etcd is there, and whether its
// history is still the one that the Snapshot is of.
func (s *Store) stayAlive(ctx context.Context) error {
	var held lease
	var met time.Time
	for ctx.Err() == nil {
		ask, cancel := context.WithTimeout(ctx, pingTimeout)
		header, err := s.ping(ask, &held)
		stale := held.placed && time.Since(held.written) > 3*s.cfg.LeaseTTL
		if err == nil && held.placed && (stale || s.alarmed.Load() || s.aliveSeen.Load() > held.revision && time.Since(met) >= s.cfg.pingEvery()) {
			met = time.Now()
			err = s.call(ask, func(ctx context.Context) error { _, err := s.place(ctx, &held); return err })
		}
		cancel()
		pause := s.cfg.pingEvery()
		switch {
		case ctx.Err() != nil:
		case err != nil:
			pause = min(pause, time.Second)
			s.failed(byPing, err)
		default:
			s.reached(byPing)
			if have := s.Snapshot(); header.ClusterId != have.ClusterID || header.Revision < have.Revision {
				s.Refresh()
			}
		}
		select {
		case <-ctx.Done():
		case <-s.aliveChanged:
		case <-time.After(pause):
		}
	}
	if held.id != clientv3.NoLease {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
		defer cancel()
		_, _ = s.client.Revoke(last, held.id) // it ends by itself if this does not get through
	}
	return nil
}

// lease is the one on alive/<self>.
type lease struct {
	id       clientv3.LeaseID
	placed   bool      // the key is known to be there with it
	revision int64     // of the key
	written  time.Time // the key
	nonces   []string  // of the last writes
}

// ping renews the lease, or gets a new one. Without a host ID it only asks for something.
func (s *Store) ping(ctx context.Context, held *lease) (header *pb.ResponseHeader, err error) {
	err = s.call(ctx, func(ctx context.Context) error {
		if s.cfg.Self == "" {
			r, err := s.client.Get(ctx, s.key(factKey{kind: kindCA}), clientv3.WithCountOnly())
			if err == nil {
				header = r.Header
			}
			return err
		}
		if held.placed {
			r, err := s.client.KeepAliveOnce(ctx, held.id)
			if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
				if err == nil {
					header = r.ResponseHeader
				}
				return err
			}
			*held = lease{nonces: held.nonces}
		}
		granted, err := s.client.Grant(ctx, int64(s.cfg.LeaseTTL/time.Second))
		if err != nil {
			return err
		}
		held.id = granted.ID
		there, err := s.place(ctx, held)
		if err != nil {
			return err
		}
		if s.settled.Load() == nil {
			at := time.Now()
			if there { // by an earlier run of this host, or by one that has the same identity
				at = at.Add(settleTime)
			}
			s.settled.Store(&at)
			poke(s.publish)
		}
		header = granted.ResponseHeader
		return nil
	})
	return header, err
}
