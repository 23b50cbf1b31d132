package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// memberPause is between two attempts to run this host's member.
	memberPause = 5 * time.Second
	// turnAway is how long a member may be without a leader until its own host asks the others.
	turnAway = 3 * time.Second
	// lastWord is how long a removed host may go on watching etcd, so that it learns of its removal.
	lastWord = time.Second
)

// Membership makes this host what the facts say about it, a member of the embedded etcd or its client, and its Store look for etcd
// where it is: on its own member while that answers, else on the others.
type Membership struct {
	store *Store
	cp    *Checkpoint
	cfg   EmbedConfig
	seeds []string
	times CouncilTimes

	recoveries chan recovery

	now     atomic.Pointer[Embedded]
	problem atomic.Pointer[string]
	council context.CancelFunc
	sitting chan struct{} // closed when the Council has ended

	tried   time.Time // the last attempt to start
	broken  bool      // the only member can't be started again in this process, for what is left of the last one holds its data
	served  time.Time // when the own member was last seen serving
	revoked time.Time // since when shut is not all that is to be shut out
	shut    int
}

// NewMembership is that of a host. cfg is how its member would run, running the one that runs already, or nil. seeds are where etcd was
// told to be.
func NewMembership(s *Store, cp *Checkpoint, cfg EmbedConfig, running *Embedded, seeds []string, t CouncilTimes) *Membership {
	m := &Membership{store: s, cp: cp, cfg: cfg, seeds: seeds, times: t, recoveries: make(chan recovery)}
	m.problem.Store(new(string))
	if running != nil {
		m.now.Store(running)
	}
	return m
}

// Serves says whether this host is to run a member, by what its checkpoint says.
func (id Identity) Serves() bool { return id.Member || id.Founded() && len(id.Endpoints) == 0 }

// OtherMembers are the URLs of the members on other hosts, as far as the snapshot on disk knows them.
func (c *Checkpoint) OtherMembers(environment string) []string {
	snap, err := c.loadSnapshot(environment)
	if err != nil {
		return nil
	}
	return snap.otherMembers(c.Local().Identity.HostID)
}

func (s *Snapshot) otherMembers(self string) []string {
	others := *s
	others.Members = slices.DeleteFunc(slices.Clone(s.Members), func(m Member) bool { return m.Host == self })
	return others.MemberURLs()
}

// Here says whether this host runs a member.
func (m *Membership) Here() bool { return m.now.Load() != nil }

// Problem says why this host's member does not run; empty: it does, or is none.
func (m *Membership) Problem() string { return *m.problem.Load() }

// Close ends this host's member, after Run has returned: until then the Store may have something to say to it.
func (m *Membership) Close() error {
	m.stop()
	return nil
}

// errBroken says that a server of this process can't be ended. A new process is free of it.
var errBroken = errors.New("the embedded etcd's member on this host has met an error that it can't go on from")

// Run does its work until ctx ends, or until only a new process helps.
func (m *Membership) Run(ctx context.Context) error {
	facts, own := m.store.Subscribe(), m.cp.Subscribe()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	if m.Here() {
		m.sit(ctx)
	}
	for {
		if err := m.look(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-facts:
		case <-own:
		case <-tick.C:
		case r := <-m.recoveries:
			r.done <- m.recover(ctx, r.lost)
		}
	}
}

// look does what is to be done now.
func (m *Membership) look(ctx context.Context) error {
	snap, id := m.store.Snapshot(), m.cp.Local().Identity
	listed := slices.IndexFunc(snap.Members, func(have Member) bool { return have.Host == id.HostID })
	fresh := !snap.Empty() && !snap.FromDisk
	e := m.now.Load()
	if e != nil && e.Serving() {
		m.served = time.Now()
	}
	lost := time.Since(m.served) > turnAway
	// The list is only a fact, and whoever can write it must not make members that are well throw away what they hold.
	unlisted := fresh && listed < 0 && len(snap.otherMembers(id.HostID)) > 0 && (e == nil || lost)
	out := e != nil && e.Expelled() || unlisted || m.store.Removed() != nil && lost
	switch {
	case out && (e != nil || id.Serves()):
		m.retire(snap, id, "it was replaced while it was away, or removed")
	case e != nil && e.Failed() != "" && snap.quorumWithout(id.HostID):
		// Whatever it was, the others have all that it had.
		why, broken := e.Failed(), e.Broken()
		if m.retire(snap, id, why); broken {
			return fmt.Errorf("%w: %s", errBroken, why)
		}
	case e != nil && e.Failed() != "":
		m.broken = e.Broken()
		m.fail("it has ended: " + e.Failed())
		m.stop()
	case e != nil:
		m.keep(ctx, e, snap, id)
	case time.Since(m.tried) < memberPause, id.Serves() && m.broken:
	case id.Serves() && HasData(m.cfg.Dir):
		m.start(ctx, id, "", false)
	case fresh && listed >= 0 && snap.Members[listed].Learner && m.store.Removed() == nil:
		m.join(ctx, snap, id)
	case fresh && listed >= 0:
		m.fail("its data is gone, so it waits until the other members have put it out and let it in anew")
	case fresh && !id.Serves():
		m.problem.Store(new(string))
	}
	m.turn(snap, id, lost)
	return nil
}

// keep tells the running server what has changed.
func (m *Membership) keep(ctx context.Context, e *Embedded, snap *Snapshot, id Identity) {
	if err := e.Trust(ctx, id.Trusted(), m.store.Server()); err != nil && ctx.Err() == nil {
		m.fail(err.Error())
		m.stop()
		return
	}
	m.problem.Store(new(string))
	e.SetPeers(snap.peers())
	if len(snap.Revoked) == m.shut {
		m.revoked = time.Time{}
	} else if m.revoked.IsZero() {
		m.revoked = time.Now()
	} else if time.Since(m.revoked) >= lastWord {
		e.ShutOut(slices.Collect(maps.Keys(snap.Revoked)))
		m.shut, m.revoked = len(snap.Revoked), time.Time{}
	}
}

// join makes this host the learner that the others expect.
func (m *Membership) join(ctx context.Context, snap *Snapshot, id Identity) {
	m.tried = time.Now()
	if m.store.Server() == nil {
		m.fail("it has no certificate for that yet")
		return
	}
	list, err := m.store.JoinAs(ctx, snap.Hosts[id.HostID])
	if err == nil {
		err = SetAside(m.cfg.Dir) // of an earlier life
	}
	if err == nil && !id.Member {
		err = m.cp.Update(func(l *Local) error { l.Identity.Member = true; return nil })
	}
	if err != nil {
		m.fail(err.Error())
		return
	}
	m.start(ctx, id, list, false)
}

// start runs this host's member; alone: whatever its data says of others.
func (m *Membership) start(ctx context.Context, id Identity, join string, alone bool) {
	m.tried = time.Now()
	cfg := m.cfg
	cfg.CA, cfg.Cert, cfg.Key, cfg.Join = id.Trusted(), m.store.Server(), id.Key, join
	cfg.Alone = alone
	wait, cancel := context.WithTimeout(ctx, 4*memberPause)
	defer cancel()
	e, err := StartEmbedded(wait, cfg)
	if err != nil {
		if ctx.Err() == nil {
			m.fail(err.Error())
		}
		return
	}
	m.shut, m.revoked = 0, time.Time{}
	m.now.Store(e)
	m.store.log.Info("this host runs a member of the embedded etcd")
	m.sit(ctx)
}

// sit runs the Council of the member that runs.
func (m *Membership) sit(ctx context.Context) {
	ctx, m.council = context.WithCancel(ctx)
	m.sitting = make(chan struct{})
	c := NewCouncil(m.store, m.now.Load(), m.times)
	go func() {
		defer close(m.sitting)
		c.Run(ctx)
	}()
}

func (m *Membership) stop() {
	e := m.now.Swap(nil)
	if e == nil {
		return
	}
	if m.council != nil {
		m.council()
		<-m.sitting
	}
	e.Close()
}

// retire makes a client of a host that is no member any more. Its data is put aside, so that it never comes back with it.
func (m *Membership) retire(snap *Snapshot, id Identity, why string) {
	m.stop()
	others := snap.otherMembers(id.HostID)
	err := SetAside(m.cfg.Dir)
	if err == nil {
		err = m.cp.Update(func(l *Local) error {
			l.Identity.Member = false
			if len(l.Identity.Endpoints) == 0 {
				l.Identity.Founder, l.Identity.Endpoints = l.Identity.Founded(), others
			}
			return nil
		})
	}
	if err != nil {
		m.fail(err.Error())
		return
	}
	m.problem.Store(new(string))
	m.store.log.WithField("why", why).Warn("this host runs no member of the embedded etcd any more, but is its client")
}

// turn points the Store to etcd.
func (m *Membership) turn(snap *Snapshot, id Identity, lost bool) {
	e := m.now.Load()
	if e != nil && (e.Serving() || !lost && slices.Equal(m.store.Endpoints(), e.Endpoints())) {
		m.store.SetEndpoints(e.Endpoints())
		return
	}
	urls := snap.MemberURLs()
	if e == nil {
		urls = snap.otherMembers(id.HostID)
	}
	for _, seed := range m.seeds {
		if !slices.Contains(urls, seed) {
			urls = append(urls, seed)
		}
	}
	m.store.SetEndpoints(urls)
}

func (m *Membership) fail(why string) {
	before := m.problem.Swap(&why)
	if *before != why {
		m.store.log.WithField("error", why).Warn("this host's member of the embedded etcd does not run")
	}
}
