package main

import (
	"time"

	"github.com/meshsec/meshsec/store"
)

// lost says whether a host has been gone for HOST_GRACE: it has no lease in etcd, which this host reaches, and nothing has come back
// through its tunnel. How long it was gone before this agent started does not count.
func (n *node) lost(host string) bool {
	reachable, _ := n.store.Healthy()
	_, answered := n.prober.last(host)
	return reachable && isLost(n.store.Snapshot(), host, later(answered, n.prober.start), time.Now(), n.set.HostGrace)
}

func isLost(snap *store.Snapshot, host string, heard, now time.Time, grace time.Duration) bool {
	return !snap.FromDisk && !snap.Alive[host] && now.Sub(heard) > grace
}

// goneHosts names those that are lost.
func (n *node) goneHosts(snap *store.Snapshot) (list []string) {
	for id := range snap.Hosts {
		if id != n.id.HostID && n.lost(id) {
			list = append(list, snap.HostName(id))
		}
	}
	return list
}
