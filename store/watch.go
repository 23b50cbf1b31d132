package store

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	listPage   = 2000        // keys
	listGap    = time.Second // between lists, however often Refresh is called
	backoffMax = 2 * time.Second
)

// follower is the goroutine that keeps the Snapshot. It lives by lists; the watch only makes it faster.
type follower struct {
	*Store
	seed   maphash.Seed
	hashes map[string]uint64 // key below the prefix → hash of the value that the Snapshot holds
	listed time.Time
}

// errStale and errCompacted end a watch that can't be continued: only a list helps.
var (
	errStale     = errors.New("etcd has another history than was seen before")
	errCompacted = errors.New("etcd has compacted what was to come next")
)

// follow lists and watches, again and again.
func (s *Store) follow(ctx context.Context) error {
	f := &follower{Store: s, seed: maphash.MakeSeed(), hashes: map[string]uint64{}}
	pause := retryPause
	for {
		before := f.listed
		err := f.session(ctx)
		if f.listed != before {
			pause = retryPause
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			continue
		case errors.Is(err, errStale), errors.Is(err, errCompacted):
			s.log.WithError(err).Debug("facts are listed again")
		default:
			s.failed(byList, err)
			if status.Code(err) == codes.PermissionDenied {
				f.askWhetherRemoved(ctx)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause + rand.N(pause)):
		}
		pause = min(2*pause, backoffMax)
	}
}

// askWhetherRemoved looks for this host's revocation, which is all that etcd tells a host that was removed.
func (f *follower) askWhetherRemoved(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	key := revokedKey(f.cp.Local().Identity.HostID).String()
	r, err := f.get(ctx, f.prefix+key)
	if err != nil || len(r.Kvs) == 0 {
		return
	}
	b := newBuilder(f.Snapshot())
	f.trust.stage(b, key, r.Kvs[0].Value)
	f.swap(b)
}

// session lists, then watches from there, and lists again from time to time, until something goes wrong.
// nil: it is time for the next one.
func (f *follower) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := f.list(ctx); err != nil {
		return err
	}
	f.reached(byList)
	f.log.WithField("revision", f.Snapshot().Revision).Debug("facts listed")
	watch := f.client.Watch(clientv3.WithRequireLeader(ctx), f.prefix, clientv3.WithPrefix(),
		clientv3.WithRev(f.Snapshot().Revision+1), clientv3.WithProgressNotify(), clientv3.WithFragment())
	every := f.cfg.ListEvery
	again := time.NewTimer(every - every/10 + rand.N(every/5+1))
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r, ok := <-watch:
			if !ok {
				return errors.New("etcd watch ended")
			}
			select {
			case <-f.opened: // before what another history tells is taken for this one's
				if err := f.resumed(ctx); err != nil {
					return err
				}
			default:
			}
			if err := f.take(r); err != nil {
				return err
			}
		case <-f.opened:
			if err := f.resumed(ctx); err != nil {
				return err
			}
		case <-f.refresh:
			again.Reset(time.Until(f.listed.Add(listGap)))
		case <-again.C:
			return nil
		}
	}
}

// take applies one watch response in one swap.
func (f *follower) take(r clientv3.WatchResponse) error {
	have := f.Snapshot()
	switch err := r.Err(); {
	case r.CompactRevision != 0:
		return errCompacted
	case err != nil && temporary(err):
		return f.unreachable(plainCause(err))
	case err != nil:
		return fmt.Errorf("etcd watch: %w", err)
	case r.Header.ClusterId != have.ClusterID || r.Header.Revision < have.Revision:
		return errStale
	}
	f.reached(byList)
	if len(r.Events) == 0 {
		return nil
	}
	b := newBuilder(have)
	for _, event := range r.Events {
		key := strings.TrimPrefix(string(event.Kv.Key), f.prefix)
		if event.Type == mvccpb.DELETE {
			f.remove(b, key, event.Kv.ModRevision)
		} else {
			f.set(b, key, event.Kv)
		}
		b.next.Revision = max(b.next.Revision, event.Kv.ModRevision)
		b.next.mark = markOf(event.Kv, event.Type == mvccpb.DELETE)
	}
	f.swap(b)
	return nil
}

// list reads all facts at one revision and applies the difference in one swap.
func (f *follower) list(ctx context.Context) error {
	kvs, header, err := f.read(ctx)
	if err != nil {
		return err
	}
	f.listed = time.Now()
	have := f.Snapshot()
	if err := f.recognise(kvs, have); err != nil {
		f.own.forget()
		poke(f.lostCA)
		return err
	}
	other, mark, err := f.holdAgainst(ctx, kvs, header.revision)
	if err != nil {
		return err
	}
	if other || header.clusterID != have.ClusterID || header.revision < have.Revision {
		f.own.forget() // what was written to another cluster, or after the backup was made
	}
	if other || have.isAfter(header.clusterID, header.revision) {
		f.wentBack()
	}
	b := newBuilder(have)
	first := len(f.hashes) == 0 // nothing of what we have was seen in etcd
	if first {
		b = newBuilder(pinned(have, time.Now()))
		b.changed = true
	}
	seen := make(map[string]bool, len(kvs))
	for _, kv := range kvs {
		key := strings.TrimPrefix(string(kv.Key), f.prefix)
		seen[key] = true
		f.set(b, key, kv)
	}
	for key := range f.hashes {
		if !seen[key] {
			f.remove(b, key, header.revision)
		}
	}
	if first {
		f.trust.restagePins(&b.next)
	}
	f.own.retain(seen, header.revision)
	b.next.ClusterID, b.next.Revision, b.next.FromDisk, b.next.mark = header.clusterID, header.revision, false, mark
	f.swap(b)
	return nil
}

// recognise refuses an etcd that holds another environment, or that has lost this one: to take over its facts would cut
// every peer off.
func (f *follower) recognise(kvs []*mvccpb.KeyValue, have *Snapshot) error {
	if have.CA == nil {
		return nil
	}
	for _, kv := range kvs {
		if string(kv.Key) == f.prefix+kindCA {
			if _, err := f.trust.openCA(kv.Value); isAuthority(err) {
				return nil
			}
		}
	}
	return fmt.Errorf("etcd at %s does not hold this environment %q: its certificate authority is missing or another one",
		f.where(), f.cfg.Environment)
}

type listHeader struct {
	clusterID uint64
	revision  int64
}

// read gets all facts, page by page, as they were at the revision of the first page.
func (f *follower) read(ctx context.Context) ([]*mvccpb.KeyValue, listHeader, error) {
	var all []*mvccpb.KeyValue
	var header listHeader
	from, end := f.prefix, clientv3.GetPrefixRangeEnd(f.prefix)
	for {
		ops := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(listPage), clientv3.WithRev(header.revision)}
		var page *clientv3.GetResponse
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		err := f.call(ctx, func(ctx context.Context) (err error) {
			page, err = f.client.Get(ctx, from, ops...)
			return err
		})
		cancel()
		if err != nil {
			return nil, header, err
		}
		if header.revision == 0 {
			header = listHeader{page.Header.ClusterId, page.Header.Revision}
		}
		all = append(all, page.Kvs...)
		if !page.More || len(page.Kvs) == 0 {
			return all, header, nil
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}

func (f *follower) set(b *builder, key string, kv *mvccpb.KeyValue) {
	f.own.observe(key, kv.Value, kv.ModRevision)
	f.sawAlive(key, kv.ModRevision)
	hash := maphash.Bytes(f.seed, kv.Value)
	if have, ok := f.hashes[key]; ok && have == hash {
		return
	}
	f.hashes[key] = hash
	f.trust.stage(b, key, kv.Value)
}

// sawAlive tells that this host's alive key was written or deleted, by itself or by another.
func (f *follower) sawAlive(key string, revision int64) {
	if f.cfg.Self != "" && key == aliveKey(f.cfg.Self).String() && revision > f.aliveSeen.Load() {
		f.aliveSeen.Store(revision)
		poke(f.aliveChanged)
	}
}

func (f *follower) remove(b *builder, key string, revision int64) {
	f.own.observeGone(key, revision)
	f.sawAlive(key, revision)
	delete(f.hashes, key)
	f.trust.stage(b, key, nil)
}

func (f *follower) swap(b *builder) {
	f.trust.settle(b, f.Snapshot())
	b.next.Taken = time.Now()
	next := b.next
	f.snapshot.Store(&next)
	if b.changed {
		f.notify()
	}
	if f.own.takeChanged() || b.changed && len(f.Conflicts()) > 0 { // who has a claim of ours may have let it go
		poke(f.publish)
	}
}
