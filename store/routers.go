package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net/netip"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ClaimRouter takes a free router address of the pool (IPv4), or returns the one in it that this host has already: in the
// Checkpoint, or in etcd. The caller puts it into the Checkpoint, where it stays.
func (s *Store) ClaimRouter(ctx context.Context, pool netip.Prefix) (netip.Addr, error) {
	if !pool.IsValid() || !pool.Addr().Is4() || pool.Bits() > 30 {
		return netip.Addr{}, fmt.Errorf("router addresses: %s is not an IPv4 network of at least four addresses", pool)
	}
	all := s.prefix + kindRouter + "/"
	for ctx.Err() == nil {
		r, err := s.get(ctx, all, clientv3.WithPrefix())
		if err != nil {
			return netip.Addr{}, err
		}
		taken := map[netip.Addr]string{}
		for _, kv := range r.Kvs {
			if k, err := parseKey(string(kv.Key[len(s.prefix):])); err == nil {
				taken[k.addr] = claimHost(kv.Value)
			}
		}
		addr, mine, err := s.pickRouter(pool.Masked(), taken)
		if err != nil || mine {
			return addr, err
		}
		key := routerKey(addr).String()
		value, err := s.sealFact(key, Claim{V: Version, Host: s.cfg.Self})
		if err != nil {
			return netip.Addr{}, err
		}
		epoch := s.own.currentEpoch()
		t, err := s.commit(ctx, []clientv3.Cmp{absent(s.prefix + key)}, []clientv3.Op{clientv3.OpPut(s.prefix+key, string(value))}, nil)
		if err != nil {
			return netip.Addr{}, err
		}
		if t.Succeeded {
			s.own.wrote(epoch, key, value, t.Header.Revision)
			return addr, nil
		}
	}
	return netip.Addr{}, s.unreachable("no answer in time")
}

// pickRouter prefers the Checkpoint's address, then one that etcd says is this host's, then a free one. The search starts
// where the host's ID says, so that hosts that join together do not all ask for the same one.
func (s *Store) pickRouter(pool netip.Prefix, taken map[netip.Addr]string) (addr netip.Addr, mine bool, err error) {
	if a := s.cp.Local().Identity.Router; pool.Contains(a) && (taken[a] == "" || taken[a] == s.cfg.Self) {
		return a, taken[a] == s.cfg.Self, nil
	}
	for a, owner := range taken {
		if owner == s.cfg.Self && pool.Contains(a) && (!mine || a.Less(addr)) {
			addr, mine = a, true
		}
	}
	if mine {
		return addr, true, nil
	}
	first := binary.BigEndian.Uint32(pool.Addr().AsSlice())
	size := uint32(1)<<(32-pool.Bits()) - 2 // without the network's and the broadcast address
	h := fnv.New32a()
	_, _ = h.Write([]byte(s.cfg.Self))
	start := h.Sum32() % size
	for i := range size {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], first+1+(start+i)%size)
		if a := netip.AddrFrom4(b); taken[a] == "" {
			return a, false, nil
		}
	}
	return netip.Addr{}, false, fmt.Errorf("router addresses: all %d of %s are taken", size, pool)
}
