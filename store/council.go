package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
)

// CouncilTimes are how long the Council waits for what. Zero values have the defaults.
type CouncilTimes struct {
	Grace  time.Duration // until a dead member is replaced; 10 min
	Settle time.Duration // that a host must have been alive before it becomes one; 15 s
	Wait   time.Duration // for a learner to catch up, and what a host that did not has to wait, five times; 2 min
	Every  time.Duration // between looks; 2 s
	Silent time.Duration // without an answer until a member counts as down; 10 s
}

// probeWait bounds the question to one member.
const probeWait = 3 * time.Second

// Council decides who is a member of the embedded etcd. It runs on every member and acts on the one that leads, so there is one
// that decides; etcd itself takes one change at a time, and none without a quorum.
type Council struct {
	store *Store
	etcd  *Embedded
	times CouncilTimes

	heard  map[uint64]time.Time // when a member has last answered
	ready  map[uint64]bool      // learners that have caught up
	behind map[uint64]time.Time // learners, since when they are seen without having caught up
	alive  map[string]time.Time // hosts, since when they are seen alive
	failed map[string]time.Time // hosts that could not become members
	down   map[uint64]time.Time // as it is published
	asker  *clientv3.Client     // for the questions; that of the Store may be turned elsewhere at any time
}

// NewCouncil is that of a running member. Its host's Store says how many members there are to be.
func NewCouncil(s *Store, e *Embedded, t CouncilTimes) *Council {
	t.Grace, t.Settle = orDefault(t.Grace, 10*time.Minute), orDefault(t.Settle, 15*time.Second)
	t.Wait, t.Every = orDefault(t.Wait, 2*time.Minute), orDefault(t.Every, 2*time.Second)
	t.Silent = orDefault(t.Silent, 10*time.Second)
	c := &Council{store: s, etcd: e, times: t}
	c.begin()
	return c
}

// begin forgets everything: what was seen before another member led says nothing.
func (c *Council) begin() {
	c.heard, c.ready, c.behind = map[uint64]time.Time{}, map[uint64]bool{}, map[uint64]time.Time{}
	c.alive, c.failed, c.down = map[string]time.Time{}, map[string]time.Time{}, map[uint64]time.Time{}
}

// Run watches the members and changes them until ctx ends.
func (c *Council) Run(ctx context.Context) {
	asker, err := newClient(c.store.cfg)
	if err != nil { // as the Store's own could be made, so can this
		c.store.complain(err)
		return
	}
	c.asker = asker
	defer func() { _ = asker.Close() }()
	tick := time.NewTicker(c.times.Every)
	defer tick.Stop()
	led := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := c.etcd.now.Load()
		leads := now != nil && c.etcd.Leads()
		if leads && !led {
			c.begin()
		}
		led = leads
		if leads {
			if err := c.sit(ctx, now); err != nil && ctx.Err() == nil {
				c.store.log.WithError(err).Debug("members of the embedded etcd, trying again")
			}
		}
	}
}

// sit looks once, publishes what it has seen, and makes one move.
func (c *Council) sit(ctx context.Context, now *serving) error {
	snap := c.store.Snapshot()
	if snap.Empty() || snap.FromDisk {
		return nil
	}
	members := now.members()
	moved := now.readdress(ctx, snap, members)
	c.probe(ctx, now, snap, members)
	s := c.situation(now, snap, members)
	if err := c.publish(ctx, now, snap, s.seats); err != nil {
		return errors.Join(moved, err)
	}
	m := s.next()
	if m.act == "" {
		return moved
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var err error
	host := m.seat.host
	switch m.act {
	case actAdd:
		host = m.host.ID
		if err = now.addLearner(ctx, m.host.peerURL()); errors.Is(err, membership.ErrPeerURLexists) {
			c.failed[host] = time.Now() // a member has its address: others are tried first
		}
	case actPromote:
		_, err = now.etcd.Server.PromoteMember(ctx, m.seat.id)
	case actRemove:
		if _, err = now.etcd.Server.RemoveMember(ctx, m.seat.id); err == nil && m.seat.learner {
			c.failed[host] = time.Now()
		}
	case actYield:
		err = now.yield(ctx, s.seats)
	}
	if err != nil {
		return errors.Join(moved, fmt.Errorf("%s member %s: %w", m.act, snap.HostName(host), err))
	}
	c.store.log.WithField("host", snap.HostName(host)).WithField("why", m.why).Infof("member of the embedded etcd: %s", m.act)
	return moved
}

// situation puts together what is known.
func (c *Council) situation(now *serving, snap *Snapshot, members []*membership.Member) situation {
	s := situation{size: c.store.cfg.Members, grace: c.times.Grace, wait: c.times.Wait}
	suitable := c.suitable(snap)
	for _, m := range members {
		id := uint64(m.ID)
		st := seat{id: id, host: hostOf(m, snap), self: id == now.self(), learner: m.IsLearner, ready: c.ready[id]}
		_, st.revoked = snap.Revoked[st.host]
		st.back = slices.ContainsFunc(suitable, func(h Host) bool { return h.ID == st.host })
		if silent := time.Since(c.heard[id]); !st.self && silent > c.times.Silent {
			st.down = silent
		}
		if st.learner {
			st.age = c.age(id)
		}
		s.seats = append(s.seats, st)
	}
	for _, h := range suitable {
		if !slices.ContainsFunc(s.seats, func(m seat) bool { return m.host == h.ID }) {
			s.candidates = append(s.candidates, h)
		}
	}
	return s
}

// age is for how long a learner has been there without having caught up. One that had and does not answer once begins anew.
func (c *Council) age(id uint64) time.Duration {
	if c.behind[id].IsZero() || c.ready[id] {
		c.behind[id] = time.Now()
	}
	return time.Since(c.behind[id])
}

// suitable are the hosts that could be members now: they have lived for a while, and the authority has certified them.
func (c *Council) suitable(snap *Snapshot) []Host {
	var list []Host
	id := c.store.cp.Local().Identity
	for _, h := range snap.suitable() {
		if !snap.Alive[h.ID] {
			delete(c.alive, h.ID)
			continue
		}
		if c.alive[h.ID].IsZero() {
			c.alive[h.ID] = time.Now()
		}
		at, bad := c.failed[h.ID]
		if time.Since(c.alive[h.ID]) >= c.times.Settle && (!bad || time.Since(at) > 5*c.times.Wait) && snap.certified(id, h.ID, false) {
			list = append(list, h)
		}
	}
	return list
}

// hostOf is which host a member is on: as it calls itself or, before its first start, by where it is expected.
func hostOf(m *membership.Member, snap *Snapshot) string {
	if m.Name != "" {
		return m.Name
	}
	for id, h := range snap.Hosts {
		if h.Etcd.Peer != 0 && len(h.Addrs) > 0 && slices.Contains(m.PeerURLs, h.peerURL()) {
			return id
		}
	}
	return ""
}

// publish writes the list of members for all hosts, where it has changed.
func (c *Council) publish(ctx context.Context, now *serving, snap *Snapshot, seats []seat) error {
	list := []Member{}
	for _, m := range seats {
		if CheckHostID(m.host) != nil || slices.ContainsFunc(list, func(have Member) bool { return have.Host == m.host }) {
			continue
		}
		if m.down == 0 {
			delete(c.down, m.id)
		} else if _, ok := c.down[m.id]; !ok {
			c.down[m.id] = time.Now().Add(-m.down).UTC().Truncate(time.Second)
		}
		list = append(list, Member{Host: m.host, Learner: m.learner, Down: c.down[m.id]})
	}
	slices.SortFunc(list, func(a, b Member) int { return strings.Compare(a.Host, b.Host) })
	if slices.EqualFunc(list, snap.Members, func(a, b Member) bool {
		return a.Host == b.Host && a.Learner == b.Learner && a.Down.Equal(b.Down)
	}) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return now.put(ctx, c.store.key(factKey{kind: kindMembers}), string(mustEncode(memberList{Version, list})))
}

// probe asks all other members how they are.
func (c *Council) probe(ctx context.Context, now *serving, snap *Snapshot, members []*membership.Member) {
	type answer struct {
		id uint64
		r  *clientv3.StatusResponse
	}
	answers := make(chan answer, len(members))
	ctx, cancel := context.WithTimeout(ctx, probeWait)
	defer cancel()
	for _, m := range members {
		id, h := uint64(m.ID), snap.Hosts[hostOf(m, snap)]
		if c.heard[id].IsZero() {
			c.heard[id] = time.Now() // the benefit of the doubt
		}
		if id == now.self() || h.Etcd.Client == 0 || len(h.Addrs) == 0 {
			answers <- answer{id: id}
			continue
		}
		go func() {
			url := serverURL(addrOf(h), int(h.Etcd.Client))
			r, err := c.asker.Status(ctx, url.String())
			if err != nil {
				r = nil
			}
			answers <- answer{id, r}
		}()
	}
	applied := now.etcd.Server.AppliedIndex()
	for range members {
		a := <-answers
		if a.r == nil || a.r.Header.MemberId != a.id || a.r.Leader == 0 {
			c.ready[a.id] = false
			continue
		}
		c.heard[a.id] = time.Now()
		c.ready[a.id] = 10*a.r.RaftAppliedIndex >= 9*applied
	}
}

// yield hands the lead over to a member that is up.
func (s *serving) yield(ctx context.Context, seats []seat) error {
	for _, m := range seats {
		if !m.self && !m.learner && m.down == 0 && !m.revoked {
			return s.etcd.Server.MoveLeader(ctx, s.self(), m.id)
		}
	}
	return fmt.Errorf("nobody to hand over to")
}
