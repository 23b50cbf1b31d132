package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/store"
)

// etcdPorts is what this host says of itself as a member of the embedded etcd: it is one, or could be, since others have told that
// they see it at its own address. Zero: it can't be.
func (n *node) etcdPorts() store.EtcdPorts {
	ports := store.EtcdPorts{Client: uint16(n.set.EtcdPort), Peer: uint16(n.set.EtcdPeerPort)}
	switch {
	case n.members == nil:
		return store.EtcdPorts{}
	case n.members.Here() || n.checkpoint.Local().Identity.Serves():
		return ports
	case n.set.EtcdMembers < 2 || !store.CanServe(runtime.GOARCH) || len(n.forwards) > 0 || n.handshake == nil:
		return store.EtcdPorts{}
	}
	if told := n.told(); len(told) == 0 || !public(n.fact, told) {
		return store.EtcdPorts{}
	}
	return ports
}

// clientURLs are where a host that joins finds etcd: at every member, as far as they are known.
func (n *node) clientURLs() []string {
	if n.members != nil {
		if urls := n.store.Snapshot().MemberURLs(); len(urls) > 0 {
			return urls
		}
	}
	return slices.Clone(n.etcd)
}

// etcdStatus is what is known here of etcd and of its members.
func (n *node) etcdStatus(snap *store.Snapshot, reachable bool, why string) control.Etcd {
	e := control.Etcd{Endpoints: n.store.Endpoints(), Embedded: n.members != nil && n.members.Here(), Reachable: reachable, Why: why}
	if n.members == nil {
		return e
	}
	for _, m := range snap.Members {
		_, removed := snap.Revoked[m.Host]
		e.Members = append(e.Members, control.Member{HostID: m.Host, Host: snap.HostName(m.Host), Learner: m.Learner, Down: m.Down, Removed: removed})
	}
	e.Spare = store.Spare(snap.Members)
	if n.set.EtcdMembers > 1 {
		e.Reserves = snap.Reserves()
	}
	return e
}

// members says in one line who the members are and what of them may be lost.
func members(e control.Etcd) string {
	var list []string
	voters := 0
	for _, m := range e.Members {
		text := m.Host
		switch {
		case m.Removed:
			text += " (removed)"
		case !m.Down.IsZero():
			text += " (down)"
		case m.Learner:
			text += " (catching up)"
		}
		if !m.Learner {
			voters++
		}
		list = append(list, text)
	}
	text := fmt.Sprintf("%s: %d of %d may be lost", strings.Join(list, ", "), max(e.Spare, 0), voters)
	if e.Reserves > 0 {
		text += fmt.Sprintf("; %d more could be members", e.Reserves)
	}
	return text
}

// memberWarnings say what is lost already, and what would be lost next.
func memberWarnings(e control.Etcd, now time.Time) (warnings []string) {
	for _, m := range e.Members {
		if m.Down.IsZero() || m.Removed {
			continue
		}
		text := fmt.Sprintf("the embedded etcd's member on host %s has been down for %s", m.Host, now.Sub(m.Down).Round(time.Second))
		if e.Spare < 1 {
			text += "; were one more lost, new networks, --ip and new hosts would have to wait"
		}
		if e.Reserves == 0 {
			text += "; there is no other host for it: bring it back, or let a further one join"
		}
		warnings = append(warnings, text)
	}
	return warnings
}
