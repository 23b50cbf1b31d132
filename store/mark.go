package store

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// mark is one change as etcd has shown it. Whether etcd still has it tells a history that goes on from another one: revisions don't,
// for an etcd that was restored from a backup is soon past those that were seen before.
type mark struct {
	key      string // with the prefix; empty: nothing was seen yet
	revision int64
	gone     bool   // by a deletion
	hash     uint64 // of the value
}

func (f *follower) markOf(kv *mvccpb.KeyValue, gone bool) mark {
	return mark{string(kv.Key), kv.ModRevision, gone, maphash.Bytes(f.seed, kv.Value)}
}

// latest is the mark of what was changed last of what was listed.
func (f *follower) latest(kvs []*mvccpb.KeyValue) mark {
	if len(kvs) == 0 {
		return mark{}
	}
	return f.markOf(slices.MaxFunc(kvs, func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.ModRevision, b.ModRevision) }), false)
}

// holdAgainst says whether a list is of another history than what was seen before, and takes what it shows for the mark.
func (f *follower) holdAgainst(ctx context.Context, kvs []*mvccpb.KeyValue) (other bool, err error) {
	err = f.goesOn(ctx)
	other = errors.Is(err, errStale)
	if err != nil && !other && !errors.Is(err, errCompacted) {
		return false, err
	}
	if last := f.latest(kvs); err != nil || last.revision > f.last.revision {
		f.last = last
	}
	return other, nil
}

// resumed waits until etcd answers a watch again, and says whether what that shows goes on from what is known.
func (f *follower) resumed(ctx context.Context) error {
	for {
		err := f.goesOn(ctx)
		if err == nil {
			f.reached(byList)
		}
		if !errors.Is(err, ErrUnreachable) || ctx.Err() != nil {
			return err
		}
		f.failed(byList, err)
	}
}

// goesOn asks whether etcd's history is the one of the mark: nil, errStale, errCompacted, or why etcd did not say.
func (f *follower) goesOn(ctx context.Context) error {
	if f.last.key == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var r *clientv3.GetResponse
	var refused error
	err := f.call(ctx, func(ctx context.Context) (err error) {
		r, err = f.client.Get(ctx, f.last.key, clientv3.WithRev(f.last.revision))
		if errors.Is(err, rpctypes.ErrFutureRev) || errors.Is(err, rpctypes.ErrCompacted) {
			refused, err = err, nil
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case errors.Is(refused, rpctypes.ErrCompacted):
		return errCompacted
	case refused != nil || r.Header.ClusterId != f.Snapshot().ClusterID:
		return errStale
	case f.last.gone && len(r.Kvs) == 0:
		return nil
	case len(r.Kvs) == 1 && f.markOf(r.Kvs[0], false) == f.last:
		return nil
	}
	return errStale
}

// tellWatch makes a stream interceptor that pokes before a watch is opened: also when the client, by itself and in silence, goes on
// with one on a new connection.
func tellWatch(opened chan struct{}) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		if strings.HasSuffix(method, "/Watch") {
			poke(opened)
		}
		return next(ctx, desc, cc, method, opts...)
	}
}
