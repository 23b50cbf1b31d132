package store

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrRemoved says that this host was removed from the environment. It can come back only as another host, with a new token.
var ErrRemoved = errors.New("this host was removed from the environment")

// Removed returns ErrRemoved with the details if this host was removed, as far as is known here.
func (s *Store) Removed() error {
	r, out := s.Snapshot().Revoked[s.cfg.Self]
	if !out {
		return nil
	}
	return fmt.Errorf("%w %q at %s: its containers are cut off; to use it again set JOIN to a new token from `meshsec token`",
		ErrRemoved, s.cfg.Environment, r.Since.UTC().Format(dateFormat))
}

// Revoke shuts a host out for good, in the name of the environment's authority. All hosts drop it when they see that; its
// claims and endpoints are deleted after Config.RemovalGrace. That it is shut out already is no error.
func (s *Store) Revoke(ctx context.Context, ca CA, host string) error {
	if err := CheckHostID(host); err != nil {
		return err
	}
	if host == s.cfg.Self {
		return errors.New("this host holds the authority and can't remove itself: do it on another one that does (meshsec ca import)")
	}
	_, key, err := keyPair(ca.Cert, ca.Key)
	if err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	k := revokedKey(host).String()
	r := Revocation{V: Version, Host: host, Name: s.Snapshot().HostName(host), Since: time.Now().UTC()}
	value := seal(key.(ed25519.PrivateKey), s.cfg.Environment, k, mustEncode(r))
	for {
		t, err := s.commit(ctx, []clientv3.Cmp{absent(s.prefix + k)}, []clientv3.Op{clientv3.OpPut(s.prefix+k, string(value))},
			[]clientv3.Op{clientv3.OpGet(s.prefix + k)})
		if err != nil || t.Succeeded {
			return err
		}
		kv := first(t, 0)
		if kv != nil && unseal(key.Public().(ed25519.PublicKey), s.cfg.Environment, k, kv.Value) == nil {
			return nil
		}
		if kv == nil {
			continue
		}
		// Somebody without the key wrote there.
		bad := clientv3.Compare(clientv3.ModRevision(s.prefix+k), "=", kv.ModRevision)
		if t, err = s.commit(ctx, []clientv3.Cmp{bad}, []clientv3.Op{clientv3.OpPut(s.prefix+k, string(value))}, nil); err != nil || t.Succeeded {
			return err
		}
	}
}

// sweepRemoved deletes what removed hosts have left in etcd, once the grace is over. Hosts with the authority do, and the members of
// the embedded etcd, whose gates let their own hosts do it.
func (s *Store) sweepRemoved(ctx context.Context) error {
	changed := s.Subscribe()
	swept := map[string]bool{}
	for {
		next := time.Hour
		if id := s.cp.Local().Identity; !id.CAKey.Empty() || id.Serves() {
			next = s.sweepDue(ctx, swept)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-time.After(next):
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// sweepDue sweeps the hosts whose grace is over, and says when the next one's is. It puts back revocations that etcd has lost.
func (s *Store) sweepDue(ctx context.Context, swept map[string]bool) (next time.Duration) {
	next = time.Hour
	snap := s.Snapshot()
	if snap.FromDisk {
		return next
	}
	holds := holders(snap)
	for _, host := range slices.Sorted(maps.Keys(snap.Revoked)) {
		if key := revokedKey(host).String(); snap.Bad[key] == revocationLost {
			value := string(mustEncode(snap.Revoked[host])) // as the authority signed it
			_, err := s.commit(ctx, []clientv3.Cmp{absent(s.prefix + key)}, []clientv3.Op{clientv3.OpPut(s.prefix+key, value)}, nil)
			if err != nil {
				next = min(next, time.Second)
			}
		}
		left := time.Until(snap.Revoked[host].Since.Add(s.cfg.RemovalGrace))
		switch {
		case swept[host] && !holds[host]: // a backup of etcd brings claims back
		case left > 0:
			next = min(next, left)
		default:
			if err := s.sweepHost(ctx, host); err != nil {
				s.log.WithError(err).WithField("host", host).Debug("what a removed host has left is not yet deleted")
				next = min(next, 10*time.Second) // or another one with the authority does it
				continue
			}
			swept[host] = true
			s.log.WithField("host", host).Info("addresses of a removed host are free")
		}
	}
	return next
}

// holders are the hosts that have a claim.
func holders(snap *Snapshot) map[string]bool {
	holds := map[string]bool{}
	for _, c := range snap.Blocks {
		holds[c.Host] = true
	}
	for _, c := range snap.Statics {
		holds[c.Host] = true
	}
	for _, c := range snap.Routers {
		holds[c.Host] = true
	}
	return holds
}

func (s *Store) sweepHost(ctx context.Context, host string) error {
	for _, kind := range []string{kindBlock, kindStatic, kindRouter} {
		r, err := s.get(ctx, s.prefix+kind+"/", clientv3.WithPrefix())
		if err != nil {
			return err
		}
		for _, kv := range r.Kvs {
			if claimHost(kv.Value) != host {
				continue
			}
			full := string(kv.Key)
			same := clientv3.Compare(clientv3.ModRevision(full), "=", kv.ModRevision)
			if _, err := s.commit(ctx, []clientv3.Cmp{same}, []clientv3.Op{clientv3.OpDelete(full)}, nil); err != nil {
				return err
			}
		}
	}
	_, err := s.commit(ctx, nil, []clientv3.Op{
		clientv3.OpDelete(s.prefix+kindEndpoint+"/"+host+"/", clientv3.WithPrefix()),
		clientv3.OpDelete(s.key(hostKey(host))),
		clientv3.OpDelete(s.key(aliveKey(host))),
	}, nil)
	return err
}
