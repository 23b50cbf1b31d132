package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/engine"
)

// The agent is the control socket's Source: without a node it says why, and shows empty lists.

// Version implements control.Source.
func (a *agent) Version() string { return version }

// Status implements control.Source.
func (a *agent) Status() control.Status {
	n := a.node.Load()
	if n == nil {
		return control.Status{Health: control.Broken, Problems: []string{*a.problem.Load()}, Version: version, HostName: hostName(a.set, ""),
			HostID: a.set.HostID, Environment: a.set.Environment, DataPlane: "none", DataPlaneReason: "not started", Started: a.started}
	}
	s := n.status()
	s.Started = a.started
	return s
}

// Hosts implements control.Source.
func (a *agent) Hosts() []control.Host { return list(a, (*node).hosts) }

// Peers implements control.Source.
func (a *agent) Peers() []control.Peer { return list(a, (*node).peers) }

// Networks implements control.Source.
func (a *agent) Networks() []control.Network { return list(a, (*node).networks) }

// Endpoints implements control.Source.
func (a *agent) Endpoints() []control.Endpoint { return list(a, (*node).endpoints) }

// Blocks implements control.Source.
func (a *agent) Blocks() []control.Block { return list(a, (*node).blocks) }

// list gives a list of the node, never nil, so that JSON shows [].
func list[T any](a *agent, rowsOf func(*node) []T) []T {
	if n := a.node.Load(); n != nil {
		if rows := rowsOf(n); rows != nil {
			return rows
		}
	}
	return []T{}
}

// Token implements control.Source.
func (a *agent) Token(_ context.Context, want control.Token) (string, error) {
	return called(a, func(n *node) (string, error) { return n.token(want) })
}

// RemoveHost implements control.Source.
func (a *agent) RemoveHost(ctx context.Context, ref, ca string) (string, error) {
	return called(a, func(n *node) (string, error) { return n.removeHost(ctx, ref, ca) })
}

// Authority implements control.Source.
func (a *agent) Authority() (string, error) { return called(a, (*node).exportAuthority) }

// AuthorityExported implements control.Source.
func (a *agent) AuthorityExported(remove bool) error {
	_, err := called(a, func(n *node) (string, error) { return "", n.authorityExported(remove) })
	return err
}

// ReplaceAuthority implements control.Source.
func (a *agent) ReplaceAuthority(ctx context.Context, ca string) error {
	_, err := called(a, func(n *node) (string, error) { return "", n.replaceAuthority(ctx, ca) })
	return err
}

// RetireAuthority implements control.Source.
func (a *agent) RetireAuthority(ctx context.Context, ca string, force bool) error {
	_, err := called(a, func(n *node) (string, error) { return "", n.retireAuthority(ctx, ca, force) })
	return err
}

// RenewCertificates implements control.Source.
func (a *agent) RenewCertificates(ctx context.Context, ca string) (string, error) {
	return called(a, func(n *node) (string, error) { return n.renewCertificates(ctx, ca) })
}

// AddAuthority implements control.Source.
func (a *agent) AddAuthority(bundle string) error {
	_, err := called(a, func(n *node) (string, error) { return "", n.addAuthority(bundle) })
	return err
}

// Rekey implements control.Source.
func (a *agent) Rekey() ([]string, error) {
	return called(a, func(n *node) ([]string, error) { return n.rekey(), nil })
}

// RecoverEtcd implements control.Source.
func (a *agent) RecoverEtcd(ctx context.Context, lost []string) error {
	_, err := called(a, func(n *node) (string, error) { return "", n.recoverEtcd(ctx, lost) })
	return err
}

// called asks the node, if there is one.
func called[T any](a *agent, fn func(*node) (T, error)) (v T, err error) {
	if n := a.node.Load(); n != nil {
		return fn(n)
	}
	return v, errors.New(*a.problem.Load())
}

// status says what is, and what is wrong in plain sentences.
func (n *node) status() control.Status {
	snap := n.store.Snapshot()
	reachable, why := n.store.Healthy()
	applied, _, applyErr := n.mesh.Applied()
	s := control.Status{Health: control.OK, Version: version, HostID: n.id.HostID, HostName: n.id.HostName, Environment: n.id.Environment,
		DataPlane: n.dataPlane, DataPlaneReason: n.dataPlaneReason, Router: n.id.Router, MTU: n.mtu,
		RouterNamespace: n.routerPath, Survives: n.survives,
		Etcd:     n.etcdStatus(snap, reachable, why),
		Revision: snap.Revision, Applied: applied, FromDisk: snap.FromDisk,
		Hosts: len(snap.Hosts), Networks: len(snap.Networks), Endpoints: snap.EndpointCount(), Blocks: len(snap.Blocks),
		Problems: []string{}, Ignored: n.mesh.Ignored(), Drops: n.dropped()}
	for _, f := range n.forwards {
		s.Underlay = append(s.Underlay, f.String())
	}
	for _, a := range n.addrs {
		s.Underlay = append(s.Underlay, fmt.Sprintf("%s:%d", a, n.set.Port))
	}
	bad := func(format string, args ...any) {
		s.Health = control.Degraded
		s.Problems = append(s.Problems, fmt.Sprintf(format, args...))
	}
	var problems []string
	s.Warnings, problems = warnings(n.checkpoint.Local().Identity, snap, time.Now())
	if lost := n.goneHosts(snap); len(lost) > 0 {
		slices.Sort(lost)
		s.Warnings = append(s.Warnings, fmt.Sprintf("lost for longer than HOST_GRACE, their routes are withdrawn: %s; meshsec host rm frees their addresses", names(lost)))
	}
	for _, p := range problems {
		bad("%s", p)
	}
	if docker := n.driver.Engine(); docker != (engine.Version{}) {
		s.Docker = docker.String()
		if flaw := docker.Flaw(); flaw != "" {
			s.Warnings = append(s.Warnings, flaw)
		}
	}
	if !n.driver.HearsDocker() {
		s.Warnings = append(s.Warnings, "Docker's API does not answer (docker.sock in /run), so new names, services and labels of containers are not known")
	}
	if dropped, err := n.router.ForwardDropped(); err == nil && dropped {
		s.Warnings = append(s.Warnings, "containers have no way out of the mesh and no published ports, unless rules of yours accept them: "+
			"Docker uses nftables, but the chain FORWARD still has the policy DROP from a start with iptables: iptables -P FORWARD ACCEPT")
	}
	if err := n.store.Removed(); err != nil {
		bad("%v", err)
		s.Health = control.Broken
		return s
	}
	if !reachable {
		bad("%s", why)
		if n.members != nil && n.members.Alone() {
			s.Warnings = append(s.Warnings, "this host's member of the embedded etcd knows no leader, as when more than half of them are away; were they lost for good: meshsec etcd-recover")
		}
	}
	if n.members != nil {
		s.Warnings = append(s.Warnings, memberWarnings(s.Etcd, time.Now())...)
		if why := n.members.Problem(); why != "" {
			bad("this host's member of the embedded etcd does not run: %s", why)
		}
	}
	if applyErr != nil {
		bad("this host does not carry everything: %v", applyErr)
	}
	for _, p := range n.peers() {
		if p.State == "up" {
			s.PeersUp++
			continue
		}
		// A host that has left the environment's etcd as well is down, which is no fault of this host's.
		if snap.Alive[p.ID] {
			bad("no tunnel to host %s: %s: %s", p.Name, p.State, p.Reason)
		}
	}
	for key, why := range snap.Bad {
		s.Ignored = append(s.Ignored, key+": "+why)
	}
	if err := n.store.Twin(); err != nil {
		bad("%v", err)
	}
	for key, owner := range n.store.Conflicts() {
		bad("%s is claimed by host %s as well as by this one", key, snap.HostName(owner))
	}
	slices.Sort(s.Ignored)
	return s
}

func (n *node) dropped() map[string]uint64 {
	all := map[string]uint64{}
	add := func(from string, m map[string]uint64) {
		for reason, count := range m {
			all[from+reason] += count
		}
	}
	if stats, err := n.plane.Stats(); err == nil {
		add("", stats.Drops)
	}
	add("underlay-", n.socket.Drops())
	if n.esp != nil {
		add("esp-", n.esp.Drops())
	}
	add("handshake-", n.handshake.Drops())
	if counts, err := n.router.Drops(); err == nil {
		add("container-", counts)
	}
	return all
}
