package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrTwin says that another machine runs with this host's identity: a disk was copied, or a virtual machine restored while
// the first one runs. Each would take the other's facts for its own, and assign the other's addresses.
var ErrTwin = errors.New("another machine runs with this host's identity")

const (
	// noncesKept is how many of the last writes a host knows again, for one that was given up may still get through.
	noncesKept = 16
	// settleTime is what a machine that runs gets to answer one that starts with its identity.
	settleTime = 500 * time.Millisecond
)

// Presence is the value of alive/<host-id>. Each write has a nonce of its own, and names that of the value which it replaces: a
// host whose recent value was replaced by one that it has not written has a twin, be it a copy of its memory. What it has
// written itself names only what was before that, so nobody makes a twin by playing it back.
type Presence struct {
	V        int          `json:"v"`
	Nonce    string       `json:"nonce,omitempty"`
	Replaces string       `json:"replaces,omitempty"`
	Name     string       `json:"name,omitempty"`
	Addrs    []netip.Addr `json:"addrs,omitempty"`
	Sig      []byte       `json:"sig,omitempty"`
}

// twin is what was last seen of another machine with this host's identity.
type twin struct {
	Presence
	at time.Time
}

// Twin returns ErrTwin with the details while another machine was seen with this host's identity within the last three lives
// of a lease.
func (s *Store) Twin() error {
	t := s.twin.Load()
	if t == nil || time.Since(t.at) > 3*s.cfg.LeaseTTL {
		return nil
	}
	addrs := make([]string, len(t.Addrs))
	for i, a := range t.Addrs {
		addrs[i] = a.String()
	}
	return fmt.Errorf("%w: %s at %s; neither assigns addresses until one of the two is off, or has an identity of its own "+
		"(its state folder moved away, and a new token in JOIN)", ErrTwin, t.Name, strings.Join(addrs, ", "))
}

// presence is a new value of this host's alive key, in the place of an older one.
func (s *Store) presence(held *lease, replaced []byte) ([]byte, error) {
	p := Presence{V: Version, Nonce: NewHostID()}
	key := aliveKey(s.cfg.Self).String()
	if before, ok := s.ownPresence(key, replaced); ok {
		p.Replaces = before.Nonce
	}
	if h := s.host.Load(); h != nil {
		p.Name, p.Addrs = h.Name, h.Addrs
	}
	value, err := s.sealFact(key, p)
	if err == nil {
		held.nonces = append(held.nonces, p.Nonce)
		held.nonces = held.nonces[max(0, len(held.nonces)-noncesKept):]
	}
	return value, err
}

// place writes the alive key anew, so that a twin sees it, and looks whether what was there is one's. It reports whether
// anything was.
func (s *Store) place(ctx context.Context, held *lease) (there bool, err error) {
	key := aliveKey(s.cfg.Self).String()
	full := s.prefix + key
	r, err := s.client.Get(ctx, full)
	if err != nil {
		return false, err
	}
	var found *mvccpb.KeyValue
	if len(r.Kvs) > 0 {
		found = r.Kvs[0]
	}
	for {
		s.note(held, key, found.GetValue())
		value, err := s.presence(held, found.GetValue())
		if err != nil {
			return false, err
		}
		same := clientv3.Compare(clientv3.ModRevision(full), "=", found.GetModRevision()) // 0: absent
		put := clientv3.OpPut(full, string(value), clientv3.WithLease(held.id))
		t, err := s.client.Txn(ctx).If(same).Then(put).Else(clientv3.OpGet(full)).Commit()
		if err != nil {
			return false, err
		}
		if t.Succeeded {
			held.placed, held.revision, held.written = true, t.Header.Revision, time.Now()
			s.alarmed.Store(false)
			return found != nil, nil
		}
		found = first(t, 0)
	}
}

// ownPresence reads a value of the alive key, if who has this host's key has written it.
func (s *Store) ownPresence(key string, value []byte) (p Presence, ok bool) {
	public, err := s.cp.Local().Identity.signer()
	if err != nil || unseal(public, s.cfg.Environment, key, value) != nil || json.Unmarshal(value, &p) != nil {
		return Presence{}, false
	}
	return p, checkText("name", p.Name) == nil
}

// note keeps and logs a twin, if the value is one's.
func (s *Store) note(held *lease, key string, value []byte) {
	p, ok := s.ownPresence(key, value)
	if !ok || slices.Contains(held.nonces, p.Nonce) || !slices.Contains(held.nonces, p.Replaces) {
		return
	}
	before := s.Twin()
	s.twin.Store(&twin{p, time.Now()})
	if before == nil {
		s.log.Error(s.Twin())
	}
	s.notify()
}

// unsettled is how much longer nothing is to be published, for a machine with the same identity may be about to tell.
func (s *Store) unsettled() time.Duration {
	if at := s.settled.Load(); at != nil {
		return time.Until(*at)
	}
	return time.Hour // until the alive key is written, which wakes the publisher
}
