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

// Presence is the value of alive/<host-id>. Each write has a nonce of its own: a host that finds one that it has not written
// there has a twin, be it a copy of its memory.
type Presence struct {
	V     int          `json:"v"`
	Nonce string       `json:"nonce,omitempty"`
	Name  string       `json:"name,omitempty"`
	Addrs []netip.Addr `json:"addrs,omitempty"`
	Sig   []byte       `json:"sig,omitempty"`
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

// presence is a new value of this host's alive key.
func (s *Store) presence(held *lease) ([]byte, error) {
	p := Presence{V: Version, Nonce: NewHostID()}
	if h := s.host.Load(); h != nil {
		p.Name, p.Addrs = h.Name, h.Addrs
	}
	key := aliveKey(s.cfg.Self).String()
	value, err := s.sealFact(key, p)
	if err == nil {
		held.nonces = append(held.nonces, p.Nonce)
		held.nonces = held.nonces[max(0, len(held.nonces)-noncesKept):]
	}
	return value, err
}

// place writes the alive key, whatever is there, and reports whether something was.
func (s *Store) place(ctx context.Context, held *lease) (there bool, err error) {
	value, err := s.presence(held)
	if err != nil {
		return false, err
	}
	r, err := s.client.Put(ctx, s.key(aliveKey(s.cfg.Self)), string(value), clientv3.WithLease(held.id), clientv3.WithPrevKV())
	if err != nil {
		return false, err
	}
	held.placed, held.revision, held.written = true, r.Header.Revision, time.Now()
	return r.PrevKv != nil, nil
}

// meet looks whether the alive key is still what this host has written, and writes it anew, so that a twin sees the same.
func (s *Store) meet(ctx context.Context, held *lease) error {
	key := aliveKey(s.cfg.Self).String()
	r, err := s.client.Get(ctx, s.prefix+key)
	if err != nil {
		return err
	}
	if len(r.Kvs) > 0 && r.Kvs[0].ModRevision > held.revision {
		s.note(held, key, r.Kvs[0].Value)
	}
	_, err = s.place(ctx, held)
	return err
}

// note keeps and logs a twin, if the value is one's.
func (s *Store) note(held *lease, key string, value []byte) {
	public, err := s.cp.Local().Identity.signer()
	if err != nil || unseal(public, s.cfg.Environment, key, value) != nil {
		return // not even one who has this host's key
	}
	var p Presence
	if json.Unmarshal(value, &p) != nil || checkText("name", p.Name) != nil || slices.Contains(held.nonces, p.Nonce) {
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
