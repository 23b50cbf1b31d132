package store

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// CreateNetwork creates the network unless one of that name exists, and returns the one that is there, which may differ
// from n. A pool that overlaps that of another network is refused with its name. It compares that nothing under networks/
// is newer than what it has read, so two hosts can't create overlapping pools at once.
func (s *Store) CreateNetwork(ctx context.Context, n Network) (Network, error) {
	n.V = Version
	if err := n.Check(); err != nil {
		return Network{}, fmt.Errorf("network %q: %w", n.Name, err)
	}
	all := s.prefix + kindNetwork + "/"
	full := s.key(networkKey(n.Name))
	for ctx.Err() == nil {
		r, err := s.get(ctx, all, clientv3.WithPrefix())
		if err != nil {
			return Network{}, err
		}
		networks := map[string]Network{}
		for _, kv := range r.Kvs {
			name := strings.TrimPrefix(string(kv.Key), all)
			fact, err := decodeValue(networkKey(name), kv.Value)
			switch {
			case err == nil:
				networks[name] = fact.(Network)
			case name == n.Name:
				return Network{}, fmt.Errorf("network %q: its fact in etcd: %w", name, err)
			}
		}
		if existing, ok := networks[n.Name]; ok {
			return existing, nil
		}
		if other, ok := overlapping(networks, n.Pool); ok {
			return Network{}, fmt.Errorf("pool %s overlaps %s of network %q", n.Pool, other.Pool, other.Name)
		}
		noNewer := clientv3.Compare(clientv3.ModRevision(all), "<", r.Header.Revision+1).WithPrefix()
		t, err := s.commit(ctx, []clientv3.Cmp{absent(full), noNewer}, []clientv3.Op{clientv3.OpPut(full, string(mustEncode(n)))}, nil)
		if err != nil {
			return Network{}, err
		}
		if t.Succeeded {
			return n, nil
		}
	}
	return Network{}, s.unreachable("no answer in time")
}

// DeleteNetwork deletes a network that nobody uses: no block, no single address, no endpoint. One that is in use, or that
// does not exist, is no error; gone tells whether it does not exist any more.
func (s *Store) DeleteNetwork(ctx context.Context, name string) (gone bool, err error) {
	if err := CheckName(name); err != nil {
		return false, fmt.Errorf("network: %w", err)
	}
	for _, endpoints := range s.Snapshot().Endpoints {
		for key := range endpoints {
			if key.Network == name {
				return false, nil
			}
		}
	}
	// Every endpoint that counts is under a claim, so the claims are enough against races.
	unused := func(kind string) clientv3.Cmp {
		return clientv3.Compare(clientv3.CreateRevision(s.prefix+kind+"/"+name+"/"), "=", 0).WithPrefix()
	}
	full := s.key(networkKey(name))
	t, err := s.commit(ctx, []clientv3.Cmp{unused(kindBlock), unused(kindStatic)}, []clientv3.Op{clientv3.OpDelete(full)}, nil)
	return err == nil && t.Succeeded, err
}

// overlapping returns the network that shares addresses with pool, the first by name.
func overlapping(networks map[string]Network, pool netip.Prefix) (Network, bool) {
	var found Network
	ok := false
	for name, n := range networks {
		if n.Pool.Overlaps(pool) && (!ok || name < found.Name) {
			found, ok = n, true
		}
	}
	return found, ok
}
