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
	for ctx.Err() == nil {
		ask, cancel := context.WithTimeout(ctx, pingTimeout)
		header, err := s.ping(ask, &held)
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
	id     clientv3.LeaseID
	placed bool // the key is known to be there with it
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
			*held = lease{}
		}
		granted, err := s.client.Grant(ctx, int64(s.cfg.LeaseTTL/time.Second))
		if err != nil {
			return err
		}
		held.id = granted.ID
		r, err := s.client.Put(ctx, s.key(aliveKey(s.cfg.Self)), `{"v":1}`, clientv3.WithLease(granted.ID))
		if err != nil {
			return err
		}
		held.placed, header = true, r.Header
		return nil
	})
	return header, err
}
