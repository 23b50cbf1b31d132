package store

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// publishRelease deletes a claim that the Checkpoint does not have (any more), unless it was claimed anew meanwhile. The
// signed release beside it tells the others that the deletion is this host's will. It stays for releaseLife. A claim that etcd has
// lost (revision 0) has the release only, of the claim's own time: it ends no later claim.
func (s *Store) publishRelease(ctx context.Context, epoch int, w write) error {
	full := s.prefix + w.key
	since := time.Now().UTC()
	if w.revision == 0 || since.Before(w.since) { // or the clock was set back since the claim
		since = w.since
	}
	key := releasedKey(s.cfg.Self, w.key).String()
	value, err := s.sealFact(key, Release{V: Version, Host: s.cfg.Self, Since: since})
	if err != nil {
		return err
	}
	lease, err := s.grant(ctx, releaseLife)
	if err != nil {
		return err
	}
	put := clientv3.OpPut(s.prefix+key, string(value), clientv3.WithLease(lease))
	var r *clientv3.TxnResponse
	if w.revision == 0 { // whoever may have it by now
		r, err = s.commit(ctx, nil, []clientv3.Op{put}, nil)
	} else {
		unchanged := clientv3.Compare(clientv3.ModRevision(full), "=", w.revision)
		r, err = s.commit(ctx, []clientv3.Cmp{unchanged}, []clientv3.Op{clientv3.OpDelete(full), put}, nil)
	}
	if err == nil && r.Succeeded {
		if w.revision != 0 {
			s.own.wrote(epoch, w.key, nil, r.Header.Revision)
		}
		s.own.wroteRelease(key, value)
		s.log.WithField("claim", w.key).Debug("claim released")
	} else {
		_, _ = s.client.Revoke(ctx, lease) // nothing hangs on it
	}
	return err
}

func (s *Store) grant(ctx context.Context, life time.Duration) (id clientv3.LeaseID, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = s.call(ctx, func(ctx context.Context) error {
		r, err := s.client.Grant(ctx, int64(life/time.Second))
		if err == nil {
			id = r.ID
		}
		return err
	})
	return id, err
}

// wroteRelease notes a release that this host has written.
func (o *ownFacts) wroteRelease(key string, value []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.noteRelease(key, value)
}
