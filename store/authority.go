package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrFounded says that the environment has another authority already: this host can't found it.
var ErrFounded = errors.New("environment exists already")

// Found makes this host's authority the environment's in etcd. That it is already is no error; ErrFounded if another one is.
func (s *Store) Found(ctx context.Context) error {
	id := s.cp.Local().Identity
	der, err := CertDER(id.CA)
	if err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	value := id.CAFact
	if len(value) == 0 {
		value = mustEncode(authority{V: Version, Cert: der})
	}
	full := s.key(factKey{kind: kindCA})
	r, err := s.commit(ctx, []clientv3.Cmp{absent(full)}, []clientv3.Op{clientv3.OpPut(full, string(value))}, []clientv3.Op{clientv3.OpGet(full)})
	if err != nil {
		return err
	}
	if r.Succeeded {
		s.Refresh()
		return nil
	}
	if kv := first(r, 0); kv != nil {
		if _, err := judge(id).openCA(kv.Value); isAuthority(err) {
			return nil
		}
	}
	return fmt.Errorf("%w: environment %q in etcd at %s: set JOIN to a token from `meshsec token` on one of its hosts",
		ErrFounded, s.cfg.Environment, s.where())
}

// Verify checks that the environment's authority in etcd is that of this host's token, or one that replaced it.
func (s *Store) Verify(ctx context.Context) error {
	r, err := s.get(ctx, s.key(factKey{kind: kindCA}))
	if err != nil {
		return err
	}
	where := s.where()
	if len(r.Kvs) == 0 {
		return fmt.Errorf("etcd at %s holds no environment %q: does ETCD or the token name the right one?", where, s.cfg.Environment)
	}
	if _, err := judge(s.cp.Local().Identity).openCA(r.Kvs[0].Value); !isAuthority(err) {
		return fmt.Errorf("environment %q in etcd at %s has another certificate authority than the token: "+
			"set JOIN to a token from `meshsec token` on one of its hosts", s.cfg.Environment, where)
	}
	return nil
}

// keepAuthority puts the authority back into an etcd that has lost it, has an older word of it, or is a new one: without
// it hosts take that etcd for another environment's. The founder does it, and whoever holds the authority's key.
func (s *Store) keepAuthority(ctx context.Context) error {
	changed := s.Subscribe()
	for done := false; ; {
		next := s.cfg.ListEvery
		if id := s.cp.Local().Identity; id.Founded() || !id.CAKey.Empty() {
			if !done || s.Snapshot().Bad[kindCA] != "" {
				err := s.restoreAuthority(ctx, id)
				if done = err == nil; !done {
					next = min(next, time.Second)
				}
				if err != nil && !errors.Is(err, ErrUnreachable) {
					s.complain(err)
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-s.lostCA:
			done = false
		case <-time.After(next):
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// restoreAuthority makes etcd's word of the authority this host's, unless etcd has a newer one.
func (s *Store) restoreAuthority(ctx context.Context, id Identity) error {
	if err := s.Found(ctx); err != nil {
		return err
	}
	full := s.key(factKey{kind: kindCA})
	r, err := s.get(ctx, full)
	if err != nil || len(r.Kvs) == 0 {
		return err
	}
	_, err = judge(id).openCA(r.Kvs[0].Value)
	if !errors.Is(err, errReplaced) && !errors.Is(err, errOlder) || len(id.CAFact) == 0 { // the last: it has only a token's word that there is a newer one
		return nil
	}
	same := clientv3.Compare(clientv3.ModRevision(full), "=", r.Kvs[0].ModRevision)
	_, err = s.commit(ctx, []clientv3.Cmp{same}, []clientv3.Op{clientv3.OpPut(full, string(id.CAFact))}, nil)
	return err
}
