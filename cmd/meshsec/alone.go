package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/store"
)

// alone refuses to become a host that another machine is: a token was used twice. Each of the two would take the other's
// facts for its own that are left over, delete them, and hand out addresses of the same blocks. A machine that has lost its
// state may come back with its token once its old lease has ended. cfg is that of this host's store, which must not run yet.
func alone(ctx context.Context, cfg store.Config, id store.Identity, cp *store.Checkpoint, log *logrus.Entry) error {
	cfg.Self = "" // it only looks
	s, err := store.Open(cfg, cp, log)
	if err != nil {
		return err
	}
	changed := s.Subscribe()
	run, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(run) }()
	defer func() { cancel(); <-done }()
	removed := func() bool { _, out := s.Snapshot().Revoked[id.HostID]; return out }
	for (s.Snapshot().Empty() || s.Snapshot().FromDisk) && !removed() {
		select {
		case <-changed:
		case <-ctx.Done():
			return noFacts(s.Healthy())
		}
	}
	snap := s.Snapshot()
	if r, out := snap.Revoked[id.HostID]; out {
		return fmt.Errorf("%w JOIN: the host of this token was removed from the environment at %s: print another with `meshsec token`",
			errSetting, r.Since.UTC().Format(time.DateTime))
	}
	other, there := snap.Hosts[id.HostID]
	public, err := id.Public()
	if err != nil {
		return err
	}
	if !there || !snap.Alive[id.HostID] || bytes.Equal(other.HandshakeKey, public) {
		return nil
	}
	return fmt.Errorf("setting JOIN: the host of this token runs already: %s at %s, since %s; a token is for one host: print another with `meshsec token`",
		other.Name, underlayOf(other), other.Since.UTC().Format(time.DateTime))
}

// noFacts says why nothing of the environment is known yet. Also an etcd that answers may be slow to tell all that it has.
func noFacts(healthy bool, why string) error {
	if healthy {
		why = "etcd answers, but its facts have not come yet"
	}
	return errors.New(why)
}
