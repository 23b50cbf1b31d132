package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrNoNetwork says that the network of a claim does not exist (any more).
var ErrNoNetwork = errors.New("no such network")

// ClaimBlock takes a block of a network. owner is the host that has it now: this one, or the one that was faster, or one
// that holds a single address in it. It may be called again: the claim is this host's until the Checkpoint has had it and
// has it no more, but at least for Config.ClaimGrace.
func (s *Store) ClaimBlock(ctx context.Context, k BlockKey) (owner string, err error) {
	statics := s.prefix + kindStatic + "/" + k.Network + "/"
	for ctx.Err() == nil {
		before := s.Snapshot()
		// A single address inside the block must not belong to another host, nor be claimed meanwhile.
		r, err := s.get(ctx, statics, clientv3.WithPrefix())
		if err != nil {
			return "", err
		}
		for _, kv := range r.Kvs {
			static, err := parseKey(string(kv.Key[len(s.prefix):]))
			if err != nil || !k.Prefix.Contains(static.addr) {
				continue
			}
			if owner := claimHost(kv.Value); owner != s.cfg.Self {
				return owner, nil
			}
		}
		if waited, err := s.quiet(ctx, before, r.Header); err != nil {
			return "", err
		} else if waited {
			continue
		}
		if owner := s.holder(ctx, blockKey(k), r.Header.Revision); owner != "" {
			return owner, nil
		}
		noNewer := clientv3.Compare(clientv3.ModRevision(statics), "<", r.Header.Revision+1).WithPrefix()
		owner, again, err := s.claim(ctx, before, blockKey(k), noNewer)
		if err != nil || !again {
			return owner, err
		}
	}
	return "", s.unreachable("no answer in time")
}

// ClaimStatic takes a single address of a network, as ClaimBlock takes a block. In a block of another host the owner is
// that one.
func (s *Store) ClaimStatic(ctx context.Context, k AddrKey) (owner string, err error) {
	n, err := s.network(ctx, k.Network)
	if err != nil {
		return "", err
	}
	block, err := k.Addr.Prefix(n.BlockLen)
	if err != nil {
		return "", fmt.Errorf("address %s of network %q: %w", k.Addr, k.Network, err)
	}
	full := s.key(blockKey(BlockKey{k.Network, block}))
	for ctx.Err() == nil {
		before := s.Snapshot()
		r, err := s.get(ctx, full)
		if err != nil {
			return "", err
		}
		unchanged := absent(full)
		if len(r.Kvs) > 0 {
			if owner := claimHost(r.Kvs[0].Value); owner != s.cfg.Self {
				return owner, nil
			}
			unchanged = clientv3.Compare(clientv3.ModRevision(full), "=", r.Kvs[0].ModRevision)
		}
		if waited, err := s.quiet(ctx, before, r.Header); err != nil {
			return "", err
		} else if waited {
			continue
		}
		if owner := s.holder(ctx, staticKey(k), r.Header.Revision); owner != "" {
			return owner, nil
		}
		owner, again, err := s.claim(ctx, before, staticKey(k), unchanged)
		if err != nil || !again {
			return owner, err
		}
	}
	return "", s.unreachable("no answer in time")
}

// claim creates the claim if it is absent, its network exists and the condition holds; again: it did not, or etcd was restored. An
// own claim that is there already is written anew: that undoes a release of it that may be on its way.
func (s *Store) claim(ctx context.Context, before *Snapshot, k factKey, condition clientv3.Cmp) (owner string, again bool, err error) {
	if err := errors.Join(s.Removed(), s.Twin()); err != nil {
		return "", false, err
	}
	key := k.String()
	full, network := s.prefix+key, s.key(networkKey(k.network))
	s.own.pin(key)
	epoch := s.own.currentEpoch()
	value, err := s.sealFact(key, Claim{V: Version, Host: s.cfg.Self, Since: s.own.after(key, time.Now().UTC())})
	if err != nil {
		return "", false, err
	}
	put := []clientv3.Op{clientv3.OpPut(full, string(value))}
	look := []clientv3.Op{clientv3.OpGet(full), clientv3.OpGet(network, clientv3.WithCountOnly())}
	r, err := s.commit(ctx, []clientv3.Cmp{absent(full), present(network), condition}, put, look)
	if err != nil {
		return "", false, err
	}
	if !r.Succeeded {
		kv := first(r, 0)
		switch {
		case rangeOf(r, 1).GetCount() == 0:
			return "", false, fmt.Errorf("network %q: %w", k.network, ErrNoNetwork)
		case kv == nil:
			return "", true, nil
		}
		if owner := claimHost(kv.Value); owner != s.cfg.Self {
			return owner, false, nil
		}
		mine := clientv3.Compare(clientv3.ModRevision(full), "=", kv.ModRevision)
		if r, err = s.commit(ctx, []clientv3.Cmp{mine, condition}, put, nil); err != nil || !r.Succeeded {
			return "", err == nil, err
		}
	}
	s.own.wrote(epoch, key, value, r.Header.Revision)
	poke(s.publish) // it looks after the claim that never gets into the Checkpoint
	again, err = s.tookPlace(ctx, before, k)
	return s.cfg.Self, again, err
}

// network reads a network's fact from the Snapshot, or from etcd where the Snapshot does not have it yet.
func (s *Store) network(ctx context.Context, name string) (Network, error) {
	if n, ok := s.Snapshot().Networks[name]; ok {
		return n, nil
	}
	k := networkKey(name)
	r, err := s.get(ctx, s.key(k))
	if err != nil {
		return Network{}, err
	}
	if len(r.Kvs) == 0 {
		return Network{}, fmt.Errorf("network %q: %w", name, ErrNoNetwork)
	}
	fact, err := decodeValue(k, r.Kvs[0].Value)
	if err != nil {
		return Network{}, fmt.Errorf("network %q: its fact in etcd: %w", name, err)
	}
	return fact.(Network), nil
}

func (s *Store) get(ctx context.Context, key string, opts ...clientv3.OpOption) (r *clientv3.GetResponse, err error) {
	err = s.call(ctx, func(ctx context.Context) (err error) {
		r, err = s.client.Get(ctx, key, opts...)
		return err
	})
	return r, err
}

// unreadable is the owner of a claim whose value can't be read: nobody whom we know.
const unreadable = "?"

func claimHost(value []byte) string {
	fact, err := decodeValue(factKey{kind: kindStatic}, value)
	if err != nil {
		return unreadable
	}
	return fact.(Claim).Host
}

// first and rangeOf give the answer to the n-th get of a transaction.
func first(r *clientv3.TxnResponse, n int) *mvccpb.KeyValue {
	if kvs := rangeOf(r, n).GetKvs(); len(kvs) > 0 {
		return kvs[0]
	}
	return nil
}

func rangeOf(r *clientv3.TxnResponse, n int) *pb.RangeResponse {
	return r.Responses[n].GetResponseRange()
}
