package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	batchOps   = 128       // etcd's default limit (--max-txn-ops)
	batchBytes = 512 << 10 // well below etcd's limit for a request
)

// publishAll makes etcd's facts about this host equal to the Checkpoint, whenever one of them changes. A change leaves at
// once; those that come while it is on its way leave together after it.
func (s *Store) publishAll(ctx context.Context) error {
	pause := retryPause
	for {
		next, err := s.publishOnce(ctx)
		if err == nil {
			pause = retryPause
			select {
			case <-ctx.Done():
			case <-s.cp.Changed():
			case <-s.publish:
			case <-time.After(next):
			}
		} else {
			s.log.WithError(err).Debug("facts of this host not yet published")
			select {
			case <-ctx.Done():
			case <-time.After(pause + rand.N(pause)):
			}
			pause = min(2*pause, backoffMax)
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// publishOnce does what is to be done now, and says when to look again if nothing changes.
func (s *Store) publishOnce(ctx context.Context) (next time.Duration, err error) {
	have, epoch, ok := s.own.view()
	if !ok {
		return time.Hour, nil // the first list wakes the publisher
	}
	s.confirm()
	if s.Removed() != nil {
		return time.Hour, nil // nobody listens any more
	}
	if wait := s.unsettled(); wait > 0 {
		return wait, nil
	}
	if s.Twin() != nil {
		return s.cfg.pingEvery(), nil // what it publishes is not ours to delete
	}
	p := s.plan(have)
	for _, claim := range p.claims { // first, for an endpoint counts only under a claim
		owner, err := s.publishClaim(ctx, epoch, claim)
		if err != nil {
			return 0, err
		}
		if owner != s.cfg.Self {
			p.conflicts[claim.key] = owner
		}
	}
	s.setConflicts(p.conflicts)
	for _, claim := range p.resigned {
		if err := s.publishAgain(ctx, epoch, claim); err != nil {
			return 0, err
		}
	}
	for len(p.writes) > 0 {
		n := batchSize(p.writes)
		if err := s.publishBatch(ctx, epoch, p.writes[:n]); err != nil {
			return 0, err
		}
		p.writes = p.writes[n:]
	}
	next = time.Hour
	if len(p.conflicts) > 0 {
		next = s.cfg.ListEvery
	}
	for _, w := range p.releases {
		if left := s.own.pinned(w.key, s.cfg.ClaimGrace); left > 0 {
			next = min(next, left)
			continue
		}
		if err := s.publishRelease(ctx, epoch, w); err != nil {
			return 0, err
		}
	}
	return next, nil
}

// confirm ends the grace of the claims that the Checkpoint has. It does not wait until something may be published: who gives a
// claim up meanwhile is not to wait for the grace's end.
func (s *Store) confirm() {
	now := time.Now()
	for key := range wantClaims(s.cp.Local(), s.cfg.Self) {
		s.own.unpin(key, now)
	}
}

func batchSize(writes []write) int {
	size := 0
	for n, w := range writes {
		if size += len(w.key) + len(w.value); n == batchOps || n > 0 && size > batchBytes {
			return n
		}
	}
	return len(writes)
}

// publishBatch writes and deletes what only this host writes, in one transaction.
func (s *Store) publishBatch(ctx context.Context, epoch int, writes []write) error {
	ops := make([]clientv3.Op, len(writes))
	for i, w := range writes {
		if w.value == nil {
			ops[i] = clientv3.OpDelete(s.prefix + w.key)
		} else {
			ops[i] = clientv3.OpPut(s.prefix+w.key, string(w.value))
		}
	}
	r, err := s.commit(ctx, nil, ops, nil)
	if err != nil {
		return err
	}
	for _, w := range writes {
		s.own.wrote(epoch, w.key, w.value, r.Header.Revision)
	}
	return nil
}

// publishClaim puts a claim of the Checkpoint back that etcd has lost, and says who has it now.
func (s *Store) publishClaim(ctx context.Context, epoch int, w write) (owner string, err error) {
	full := s.prefix + w.key
	r, err := s.commit(ctx, []clientv3.Cmp{absent(full)}, []clientv3.Op{clientv3.OpPut(full, string(w.value))}, []clientv3.Op{clientv3.OpGet(full)})
	if err != nil {
		return "", err
	}
	if !r.Succeeded {
		if kv := first(r, 0); kv != nil {
			return claimHost(kv.Value), nil
		}
	}
	s.own.wrote(epoch, w.key, w.value, r.Header.Revision)
	return s.cfg.Self, nil
}

// publishAgain writes an own claim anew if it is still what was seen.
func (s *Store) publishAgain(ctx context.Context, epoch int, w write) error {
	full := s.prefix + w.key
	unchanged := clientv3.Compare(clientv3.ModRevision(full), "=", w.revision)
	r, err := s.commit(ctx, []clientv3.Cmp{unchanged}, []clientv3.Op{clientv3.OpPut(full, string(w.value))}, nil)
	if err == nil && r.Succeeded {
		s.own.wrote(epoch, w.key, w.value, r.Header.Revision)
	}
	return err
}

// commit runs one transaction with the Store's own time limit where ctx has a longer one.
func (s *Store) commit(ctx context.Context, when []clientv3.Cmp, then, otherwise []clientv3.Op) (r *clientv3.TxnResponse, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = s.call(ctx, func(ctx context.Context) (err error) {
		r, err = s.client.Txn(ctx).If(when...).Then(then...).Else(otherwise...).Commit()
		return err
	})
	return r, err
}

func absent(key string) clientv3.Cmp { return clientv3.Compare(clientv3.CreateRevision(key), "=", 0) }

func present(key string) clientv3.Cmp { return clientv3.Compare(clientv3.CreateRevision(key), ">", 0) }

// complain logs a thing that no retry will mend, once.
func (s *Store) complain(err error) {
	if _, before := s.complaints.LoadOrStore(err.Error(), true); !before {
		s.log.WithError(err).Error("fact not published")
	}
}

// setConflicts logs each conflict once.
func (s *Store) setConflicts(now map[string]string) {
	before := s.Conflicts()
	for key, owner := range now {
		if before[key] != owner {
			s.log.WithField("claim", key).WithField("host", owner).Error("claim of this host belongs to another host in etcd")
		}
	}
	s.conflicts.Store(&now)
}

// tooLong says why a fact can't be published.
func tooLong(w write) error {
	return fmt.Errorf("fact %s: %d bytes are more than %d: fewer labels are needed", strings.ToValidUTF8(w.key, "?"), len(w.value), maxValue)
}
