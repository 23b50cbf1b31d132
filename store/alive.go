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
	var lease clientv3.LeaseID
	for ctx.Err() == nil {
		ask, cancel := context.WithTimeout(ctx, pingTimeout)
		header, err := s.ping(ask, &lease)
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
	if lease != clientv3.NoLease {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
		defer cancel()
		_, _ = s.client.Revoke(last, lease) // it ends by itself if this does not get through
	}
	return nil
}

// ping renews the lease, or gets a new one. Without a host ID it only asks for something.
func (s *Store) ping(ctx context.Context, lease *clientv3.LeaseID) (header *pb.ResponseHeader, err error) {
	err = s.call(ctx, func(ctx context.Context) error {
		if s.cfg.Self == "" {
			r, err := s.client.Get(ctx, s.key(factKey{kind: kindCA}), clientv3.WithCountOnly())
			if err == nil {
				header = r.Header
			}
			return err
		}
		if *lease != clientv3.NoLease {
			r, err := s.client.KeepAliveOnce(ctx, *lease)
			if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
				if err == nil {
					header = r.ResponseHeader
				}
				return err
			}
			*lease = clientv3.NoLease
		}
		granted, err := s.client.Grant(ctx, int64(s.cfg.LeaseTTL/time.Second))
		if err != nil {
			return err
		}
		r, err := s.client.Put(ctx, s.key(aliveKey(s.cfg.Self)), `{"v":1}`, clientv3.WithLease(granted.ID))
		if err != nil {
			return err
		}
		*lease, header = granted.ID, r.Header
		return nil
	})
	return header, err
}
