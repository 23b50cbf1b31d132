package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meshsec/meshsec/control"
)

// grownUp bounds the time until the embedded etcd has as many members as there are to be: hosts that want to be one have to have lived
// for a while, and get their votes in pairs.
const grownUp = 3 * time.Minute

// peerPort is a match of nft(8) for what the members of the embedded etcd say to each other.
const peerPort = "tcp dport 2380"

// bothPorts is one for all that a member of the embedded etcd is asked.
const bothPorts = "tcp dport 2379-2380"

// council says what the members of the embedded etcd lack: there are to be as many as were asked for, each with a vote, up, and with
// its own host as its client.
func (r *rig) council(ctx context.Context) error {
	var errs []error
	for _, n := range r.nodes {
		var s control.Status
		if err := n.control.Get(ctx, "status", &s); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", n.host.Name, err))
			continue
		}
		if len(s.Etcd.Members) != r.members || s.Etcd.Spare != r.members/2 || !s.Etcd.Reachable {
			errs = append(errs, fmt.Errorf("%s knows not %d members of etcd that are well: %+v", n.host.Name, r.members, s.Etcd))
		}
		for _, m := range s.Etcd.Members {
			if m.Learner || m.Removed || !m.Down.IsZero() {
				errs = append(errs, fmt.Errorf("%s knows a member of etcd that is not well: %+v", n.host.Name, m))
			}
			if m.HostID == s.HostID && (!s.Etcd.Embedded || len(s.Etcd.Endpoints) != 1) {
				errs = append(errs, fmt.Errorf("%s is a member of etcd, but asks others: %+v", n.host.Name, s.Etcd))
			}
		}
		// Where a member that was put out lays its data. That takes ten minutes without an answer, and no fault lasts so long.
		if out, err := n.host.Run(ctx, "sh", "-c", "ls -d "+n.host.Data("meshsec/etcd.left")+" 2>/dev/null || true"); err != nil || out != "" {
			errs = append(errs, errors.Join(err, fmt.Errorf("%s was put out of the members of etcd: %s", n.host.Name, out)))
		}
	}
	return errors.Join(errs...)
}

// cutFrom keeps all others from what a host has at a port, or no longer.
func (r *rig) cutFrom(ctx context.Context, host int, proto string, off bool) error {
	for i := range r.nodes {
		if i == host {
			continue
		}
		if err := r.cut(ctx, Fault{Host: i, Peer: host, What: oneWay}, proto, off); err != nil {
			return err
		}
	}
	return nil
}

// cutMembers keeps the members of etcd from each other, or no longer.
func (r *rig) cutMembers(ctx context.Context, off bool) error {
	for i := range r.nodes {
		if err := r.cutFrom(ctx, i, peerPort, off); err != nil {
			return err
		}
	}
	return nil
}
