package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Alone says whether this host's member runs and knows no leader.
func (m *Membership) Alone() bool {
	e := m.now.Load()
	return e != nil && !e.Serving() && e.Failed() == ""
}

// recovery is a call of Recover on its way to Run.
type recovery struct {
	lost []string
	done chan error
}

// Recover makes an etcd of one member, this host's, out of what that holds, when so many members are lost for good that the others can
// decide nothing any more. lost are those hosts, by name or ID, so that nobody does it by mistake: were they to come back together, there
// would be two etcds. The new one grows by itself; members that were not lost learn that they are out, and come in anew. Nothing is
// changed by a call that is refused; one that was cut short is to be repeated. It waits for Run.
func (m *Membership) Recover(ctx context.Context, lost []string) error {
	r := recovery{lost, make(chan error, 1)}
	select {
	case m.recoveries <- r:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// recover is Recover's work.
func (m *Membership) recover(ctx context.Context, lost []string) error {
	snap, id := m.store.Snapshot(), m.cp.Local().Identity
	e := m.now.Load()
	if ok, _ := m.store.Healthy(); ok || e != nil && e.Serving() {
		return errors.New("etcd answers: there is nothing to recover")
	}
	if !id.Serves() || !HasData(m.cfg.Dir) {
		return fmt.Errorf("this host has no member of the embedded etcd: type it on one that has (%s)", strings.Join(snap.namesOf(snap.voters()), ", "))
	}
	if err := snap.mayRecover(id.HostID, lost); err != nil {
		return err
	}
	m.stop()
	m.start(ctx, id, "", true)
	if !m.Here() {
		return errors.New(m.Problem())
	}
	m.turn(snap, id, false) // before who asked goes on: the agent may not have asked its own member so far
	m.store.log.WithField("lost", strings.Join(lost, ", ")).Warn("the embedded etcd goes on with this host's member alone, as it was told")
	return nil
}

// voters are the hosts of the members with a vote.
func (s *Snapshot) voters() (hosts []string) {
	for _, m := range s.Members {
		if !m.Learner {
			hosts = append(hosts, m.Host)
		}
	}
	return hosts
}

func (s *Snapshot) namesOf(hosts []string) (names []string) {
	for _, h := range hosts {
		names = append(names, s.HostName(h))
	}
	return names
}

// mayRecover says what speaks against a recovery on this host.
func (s *Snapshot) mayRecover(self string, lost []string) error {
	voters := s.voters()
	gone := map[string]bool{}
	for _, ref := range lost {
		at := slices.IndexFunc(voters, func(h string) bool { return h == ref || s.HostName(h) == ref })
		switch {
		case at < 0:
			return fmt.Errorf("%q is no member of the embedded etcd; those are %s", ref, strings.Join(s.namesOf(voters), ", "))
		case voters[at] == self:
			return fmt.Errorf("%q is this host: it is what is left", ref)
		}
		gone[voters[at]] = true
	}
	if left, quorum := len(voters)-len(gone), len(voters)/2+1; left >= quorum {
		return fmt.Errorf("%d of %d members would be left, which is enough for them to go on by themselves; name all members that are lost for good (members: %s)",
			left, len(voters), strings.Join(s.namesOf(voters), ", "))
	}
	return nil
}
