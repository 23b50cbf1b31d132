package store

import (
	"context"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const (
	// catchUp bounds the wait for the Snapshot to show what etcd has shown already.
	catchUp = time.Second
	// claimLook is how often the Snapshot is looked at meanwhile.
	claimLook = 5 * time.Millisecond
	// restoreQuiet is how long nothing is claimed in an etcd that has lost what was there before: this host may not have seen
	// all of it, and those whose claims it was put them back meanwhile.
	restoreQuiet = 5 * time.Second
)

// quiet waits until claims may be made in an etcd that has answered with this header, which may take restoreQuiet. before is the
// Snapshot of before the question. waited: the answer is old.
func (s *Store) quiet(ctx context.Context, before *Snapshot, header *pb.ResponseHeader) (waited bool, err error) {
	if before == s.Snapshot() && before.isAfter(header.ClusterId, header.Revision) {
		s.wentBack()
		s.Refresh()
	}
	at := s.restored.Load()
	if at == nil || time.Since(*at) >= restoreQuiet {
		return false, nil
	}
	select {
	case <-time.After(time.Until(at.Add(restoreQuiet))):
		return true, nil
	case <-ctx.Done():
		return true, s.unreachable("it was restored from a backup just now; claims wait until all hosts have put back what it lost")
	}
}

// newer waits for another Snapshot than before, but not for long: what stood against a claim may be seen in it.
func (s *Store) newer(ctx context.Context, before *Snapshot) {
	ctx, cancel := context.WithTimeout(ctx, 10*claimLook)
	defer cancel()
	ticker := time.NewTicker(claimLook)
	defer ticker.Stop()
	for s.Snapshot() == before {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// wentBack notes that etcd has lost what this host has seen in it.
func (s *Store) wentBack() {
	now := time.Now()
	s.restored.Store(&now)
}

// isAfter says that an etcd of this cluster and revision has lost something since the Snapshot.
func (s *Snapshot) isAfter(cluster uint64, revision int64) bool {
	return s.ClusterID != 0 && (cluster != s.ClusterID || revision < s.Revision)
}

// holder names another host that has the claim, or one that overlaps with it, by this host's Snapshot, though etcd may show
// none: an etcd that was restored from a backup has lost what was claimed since, and who claimed it still assigns from it.
// A claim that was just released is not yet gone from the Snapshot, so one that is behind the revision is waited for.
func (s *Store) holder(ctx context.Context, k factKey, revision int64) (owner string) {
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	ticker := time.NewTicker(claimLook)
	defer ticker.Stop()
	for {
		snap := s.Snapshot()
		if owner = s.heldInSnapshot(snap, k); owner == "" || snap.Revision >= revision {
			return owner
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return owner
		}
	}
}

func (s *Store) heldInSnapshot(snap *Snapshot, k factKey) string {
	if owner := claimOwner(snap, k.String()); owner != "" {
		if owner == s.cfg.Self {
			return ""
		}
		return owner
	}
	switch k.kind {
	case kindStatic:
		for block, c := range snap.Blocks {
			if block.Network == k.network && block.Prefix.Contains(k.addr) && c.Host != s.cfg.Self {
				return c.Host
			}
		}
	case kindBlock:
		for static, c := range snap.Statics {
			if static.Network == k.network && k.prefix.Contains(static.Addr) && c.Host != s.cfg.Self {
				return c.Host
			}
		}
	}
	return ""
}

// lostClaims are claims that this host has given up when etcd had lost them already: nothing is there to be deleted, but the
// others keep them for this host until they see its release.
func (s *Store) lostClaims(have map[string]ownFact, wanted map[string]bool) []write {
	var lost []write
	snap := s.Snapshot()
	add := func(k factKey, c Claim) {
		key := k.String()
		if _, there := have[key]; !there && !wanted[key] && c.Host == s.cfg.Self {
			lost = append(lost, write{key: key, since: c.Since})
		}
	}
	if snap.FromDisk {
		return nil
	}
	for k, c := range snap.Blocks {
		add(blockKey(k), c)
	}
	for k, c := range snap.Statics {
		add(staticKey(k), c)
	}
	return lost
}
