package store

import (
	"cmp"
	"context"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// mark is one change as etcd has shown it. Whether etcd still has it tells a history that goes on from another one: revisions don't,
// for an etcd that was restored from a backup is soon past those that were seen before.
type mark struct {
	Key      string `json:"key"` // with the prefix; empty: nothing was seen yet
	Revision int64  `json:"revision"`
	Gone     bool   `json:"gone,omitempty"` // by a deletion
	Sum      uint32 `json:"sum"`            // of the value
	At       int64  `json:"at"`             // the last revision at which it was seen to be so, for that of the change may be compacted
}

func markOf(kv *mvccpb.KeyValue, gone bool) mark {
	return mark{string(kv.Key), kv.ModRevision, gone, crc32.ChecksumIEEE(kv.Value), kv.ModRevision}
}

// latest is the mark of what was changed last of what was listed at a revision, or that of a deletion which came after it.
func latest(kvs []*mvccpb.KeyValue, before mark, revision int64) (last mark) {
	if len(kvs) > 0 {
		last = markOf(slices.MaxFunc(kvs, func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.ModRevision, b.ModRevision) }), false)
	}
	if before.Gone && before.Revision > last.Revision {
		last = before
	}
	last.At = revision
	return last
}

// holdAgainst says whether a list is of another history than what was seen before, and gives the mark that it leaves.
func (f *follower) holdAgainst(ctx context.Context, kvs []*mvccpb.KeyValue, revision int64) (other bool, next mark, err error) {
	have := f.Snapshot()
	switch err := f.goesOn(ctx, have); {
	case errors.Is(err, errStale):
		return true, latest(kvs, mark{}, revision), nil
	case err != nil && !errors.Is(err, errCompacted):
		return false, mark{}, err
	}
	return false, latest(kvs, have.mark, revision), nil
}

// tookPlace says whether a claim that etcd has just taken from this host was made in the history that the Snapshot of before it is of: etcd
// may have been restored while it was on its way, and another host's claim be lost in it. again: it was not, and is given up.
func (s *Store) tookPlace(ctx context.Context, before *Snapshot, k factKey) (again bool, err error) {
	switch err = s.goesOn(ctx, before); {
	case errors.Is(err, errStale):
		s.own.unpin(k.String(), time.Now())
		s.wentBack()
		poke(s.publish)
	case !errors.Is(err, errCompacted):
		return false, err
	}
	s.Refresh()
	s.newer(ctx, before)
	return true, nil
}

// resumed waits until etcd answers a watch again, and says whether what that shows goes on from what is known.
func (f *follower) resumed(ctx context.Context) error {
	for {
		err := f.goesOn(ctx, f.Snapshot())
		if err == nil {
			f.reached(byList)
		}
		if !errors.Is(err, ErrUnreachable) || ctx.Err() != nil {
			return err
		}
		f.failed(byList, err)
	}
}

// goesOn asks whether etcd's history goes on from that of a Snapshot: nil, errStale, errCompacted, or why etcd did not say.
func (s *Store) goesOn(ctx context.Context, have *Snapshot) error {
	m := have.mark
	if m.Key == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var r *clientv3.GetResponse
	var refused error
	err := s.call(ctx, func(ctx context.Context) (err error) {
		r, err = s.client.Get(ctx, m.Key, clientv3.WithRev(m.At))
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
	case refused != nil || r.Header.ClusterId != have.ClusterID:
		return errStale
	case m.Gone && len(r.Kvs) == 0:
		return nil
	case !m.Gone && len(r.Kvs) == 1:
		if have := markOf(r.Kvs[0], false); have.Revision == m.Revision && have.Sum == m.Sum {
			return nil
		}
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
