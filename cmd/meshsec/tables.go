package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshsec/meshsec/control"
)

func statusCommand(a *ask) *cobra.Command {
	c := command(a, "status", "this host in one look; exit code 0 ok, 1 degraded, 2 broken", showStatus)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var s control.Status
		if err := a.get(cmd.Context(), "status", &s); err != nil {
			return err
		}
		if err := a.print(cmd.OutOrStdout(), s, func(w io.Writer) { showStatus(w, s) }); err != nil {
			return err
		}
		switch s.Health {
		case control.OK:
			return nil
		case control.Degraded:
			return exit{1, errQuiet}
		}
		return exit{2, errQuiet}
	}
	return c
}

func showStatus(w io.Writer, s control.Status) {
	row(w, "health", s.Health)
	for _, p := range s.Problems {
		row(w, "problem", p)
	}
	for _, p := range s.Warnings {
		row(w, "warning", p)
	}
	row(w, "host", fmt.Sprintf("%s (%s), meshsec %s", s.HostName, s.HostID, s.Version))
	row(w, "environment", s.Environment)
	if s.Docker != "" {
		row(w, "docker", s.Docker)
	}
	row(w, "data plane", fmt.Sprintf("%s: %s", s.DataPlane, s.DataPlaneReason))
	row(w, "underlay", strings.Join(s.Underlay, ", "))
	row(w, "router", fmt.Sprintf("%s, inner MTU %d, %s (survives %s)", s.Router, s.MTU, s.RouterNamespace, s.Survives))
	etcd := strings.Join(s.Etcd.Endpoints, ", ")
	if s.Etcd.Embedded {
		etcd += " (embedded here)"
	}
	if !s.Etcd.Reachable {
		etcd += ", not reachable: " + s.Etcd.Why
	}
	row(w, "etcd", etcd)
	if len(s.Etcd.Members) > 0 {
		row(w, "etcd members", members(s.Etcd))
	}
	facts := fmt.Sprintf("revision %d, applied %d", s.Revision, s.Applied)
	if s.FromDisk {
		facts += ", from this host's checkpoint"
	}
	row(w, "facts", facts)
	row(w, "counts", fmt.Sprintf("%d hosts, %d peers up, %d networks, %d endpoints, %d blocks", s.Hosts, s.PeersUp, s.Networks, s.Endpoints, s.Blocks))
	for _, i := range s.Ignored {
		row(w, "ignored", i)
	}
	if len(s.Drops) > 0 {
		row(w, "dropped", drops(s.Drops))
	}
	row(w, "started", age(s.Started))
	if hint := commandHint(paths{run: "/run"}); hint != "" {
		row(w, "command", hint)
	}
}

func hostsCommand(a *ask) *cobra.Command {
	return command(a, "hosts", "the hosts of the environment", func(w io.Writer, hosts []control.Host) {
		row(w, "NAME", "ID", "ALIVE", "UNDERLAY", "SEEN AT", "ROUTER", "PLANE", "ENCAP", "ENDPOINTS", "SYSTEM", "VERSION")
		for _, h := range hosts {
			name := h.Name
			if h.Self {
				name += " *"
			}
			row(w, name, h.ID, yes(h.Alive), h.Underlay, seenAt(h), h.Router, h.DataPlane, h.Encap, h.Endpoints, h.OS+"/"+h.Arch, h.Version)
		}
	})
}

// seenAt is where other hosts see a host that is behind a NAT.
func seenAt(h control.Host) string {
	if len(h.Observed) == 0 {
		return "-"
	}
	return join(h.Observed)
}

func peersCommand(a *ask) *cobra.Command {
	return command(a, "peers", "the tunnels to the other hosts: state, handshake, round-trip time, bytes, data plane", func(w io.Writer, peers []control.Peer) {
		row(w, "PEER", "STATE", "REMOTE", "HANDSHAKE", "RTT", "MTU", "RX", "TX", "DROPS", "CIPHER", "PLANE", "WHY")
		for _, p := range peers {
			rtt := "-"
			if p.RTT > 0 {
				rtt = p.RTT.Round(10 * time.Microsecond).String()
			}
			state := p.State
			if p.Reason != "" {
				state += ": " + p.Reason
			}
			row(w, p.Name, state, p.Remote+"/"+p.Encap, age(p.LastHandshake), rtt, p.MTU, size(p.RxBytes), size(p.TxBytes), drops(p.Drops), p.Cipher, p.DataPlane, p.DataPlaneReason)
		}
	})
}

func networksCommand(a *ask) *cobra.Command {
	return command(a, "networks", "the networks of the environment", func(w io.Writer, nets []control.Network) {
		row(w, "NAME", "POOL", "DYNAMIC", "GATEWAY", "BLOCK", "HERE", "BLOCKS", "ENDPOINTS")
		for _, n := range nets {
			row(w, n.Name, n.Pool, join(n.Dynamic), n.Gateway, fmt.Sprintf("/%d", n.BlockLen), yes(n.Here), n.Blocks, n.Endpoints)
		}
	})
}

func endpointsCommand(a *ask) *cobra.Command {
	return command(a, "endpoints", "the containers' attachments, on all hosts", func(w io.Writer, eps []control.Endpoint) {
		row(w, "NETWORK", "ADDRESS", "MAC", "HOST", "CONTAINER", "SERVICE", "ENDPOINT", "SINCE")
		for _, e := range eps {
			service := e.Service
			if e.Project != "" && service != "" {
				service = e.Project + "/" + service
			}
			row(w, e.Network, e.Addr, e.MAC, e.Host, e.Name, service, short(e.ID), age(e.Since))
		}
	})
}

func blocksCommand(a *ask) *cobra.Command {
	return command(a, "blocks", "which host assigns which addresses", func(w io.Writer, blocks []control.Block) {
		row(w, "NETWORK", "PREFIX", "KIND", "HOST", "USED", "SINCE")
		for _, b := range blocks {
			row(w, b.Network, b.Prefix, b.Kind, b.Host, fmt.Sprintf("%d of %d", b.Used, b.Size), age(b.Since))
		}
	})
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func short(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}

func join[T fmt.Stringer](list []T) string {
	s := make([]string, len(list))
	for i, v := range list {
		s[i] = v.String()
	}
	return strings.Join(s, ",")
}
