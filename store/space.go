package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
)

// spaceEvery is how often a member looks whether it is out of space. The look asks nobody.
const spaceEvery = time.Second

// keepSpace makes room whenever this member is out of space, until the server ends: nobody else can, for the gate lets no host
// administer the server.
func (s *serving) keepSpace(cfg EmbedConfig) {
	tick := time.NewTicker(spaceEvery)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-s.etcd.Server.StopNotify():
			return
		case <-tick.C:
		}
		if !s.isFull() {
			continue
		}
		err := s.makeRoom(cfg.quota())
		switch {
		case err == nil:
			last = ""
			cfg.Log.Warn("embedded etcd was out of space: old revisions are deleted, it takes writes again")
		case err.Error() != last:
			last = err.Error()
			cfg.Log.WithError(err).Error("embedded etcd is out of space")
		}
	}
}

func (s *serving) isFull() bool {
	self := s.self()
	return slices.ContainsFunc(s.etcd.Server.Alarms(), func(a *pb.AlarmMember) bool {
		return a.Alarm == pb.AlarmType_NOSPACE && a.MemberID == self
	})
}

// makeRoom deletes all old revisions, gives their space in the file back, and disarms this member's alarm.
func (s *serving) makeRoom(quota int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	etcd := s.etcd.Server
	_, err := etcd.Compact(ctx, &pb.CompactionRequest{Revision: etcd.KV().Rev(), Physical: true})
	if err != nil && !errors.Is(err, mvcc.ErrCompacted) {
		return fmt.Errorf("compact: %w", err)
	}
	if err := etcd.Backend().Defrag(); err != nil {
		return fmt.Errorf("defragment: %w", err)
	}
	if size := etcd.Backend().Size(); size > quota {
		return fmt.Errorf("%d bytes of facts are more than %d", size, quota)
	}
	_, err = etcd.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: s.self(), Alarm: pb.AlarmType_NOSPACE})
	if err != nil {
		return fmt.Errorf("disarm the alarm: %w", err)
	}
	return nil
}

// quota is how large the data may be, in bytes.
func (cfg EmbedConfig) quota() int64 {
	if cfg.maxSize > 0 {
		return cfg.maxSize
	}
	return embedQuota
}
