package main

import (
	"maps"
	"time"

	"github.com/meshsec/meshsec/store"
)

// lost says whether a host is marked lost, as of the last look: it gets no routes, and its names are not answered.
func (n *node) lost(host string) bool { return n.lostNow()[host] }

// lostNow are all hosts that are marked lost, by ID. Read only.
func (n *node) lostNow() map[string]bool {
	if set := n.lostHosts.Load(); set != nil {
		return *set
	}
	return nil
}

// lookForLost marks those hosts lost that have been gone for HOST_GRACE, from etcd and from their tunnel, and no others. It reports
// whether anything has changed. How long a host was gone before this agent started does not count.
func (n *node) lookForLost() bool {
	snap, before := n.store.Snapshot(), n.lostNow()
	reachable, _ := n.store.Healthy()
	set := map[string]bool{}
	for id := range snap.Hosts {
		_, answered := n.prober.last(id)
		silent := time.Since(later(answered, n.prober.start)) > n.set.HostGrace
		if id != n.id.HostID && isLost(snap, id, reachable, silent, before[id]) {
			set[id] = true
		}
	}
	if maps.Equal(before, set) {
		return false
	}
	n.lostHosts.Store(&set)
	return true
}

// isLost: while this host does not reach etcd it can't know of a lease, so only an answer through the tunnel changes anything.
func isLost(snap *store.Snapshot, host string, reachable, silent, before bool) bool {
	switch {
	case !silent:
		return false
	case !reachable || snap.FromDisk:
		return before
	}
	return !snap.Alive[host]
}

// goneHosts names those that are lost.
func (n *node) goneHosts(snap *store.Snapshot) (list []string) {
	for id := range n.lostNow() {
		list = append(list, snap.HostName(id))
	}
	return list
}
