package engine

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
)

// Swarm is what an engine is in a Swarm.
type Swarm struct {
	NodeID  string
	State   string // "inactive", "pending", "active", "error" or "locked"
	Error   string
	Manager bool
}

// Swarm asks what this engine is in a Swarm.
func (c *Client) Swarm(ctx context.Context) (Swarm, error) {
	var answer struct {
		Swarm struct {
			NodeID, LocalNodeState, Error string
			ControlAvailable              bool
		}
	}
	err := c.get(ctx, "info", "/info", &answer)
	s := answer.Swarm
	return Swarm{NodeID: s.NodeID, State: s.LocalNodeState, Error: s.Error, Manager: s.ControlAvailable}, err
}

// Node is a node of a Swarm.
type Node struct {
	ID, Host string
	Addr     string // may be 0.0.0.0
	Manager  bool
}

// Nodes lists the Swarm's nodes, by host name. Only a manager answers.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	var answer []struct {
		ID          string
		Description struct{ Hostname string }
		Status      struct{ Addr string }
		Spec        struct{ Role string }
	}
	if err := c.get(ctx, "nodes of the Swarm", "/nodes", &answer); err != nil {
		return nil, err
	}
	var nodes []Node
	for _, n := range answer {
		nodes = append(nodes, Node{ID: n.ID, Host: n.Description.Hostname, Addr: n.Status.Addr, Manager: n.Spec.Role == "manager"})
	}
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.ID, b.ID)) })
	return nodes, nil
}

// Assigned lists the addresses that the Swarm has for its tasks, but for those that have ended, and for its services, by network
// ID. Containers that are no tasks are not among them. Only a manager answers.
func (c *Client) Assigned(ctx context.Context) (map[string]map[netip.Addr]bool, error) {
	list := map[string]map[netip.Addr]bool{}
	add := func(network, text string) {
		if addr, err := netip.ParsePrefix(text); err == nil {
			if list[network] == nil {
				list[network] = map[netip.Addr]bool{}
			}
			list[network][addr.Addr().Unmap()] = true
		}
	}
	var tasks []struct {
		Status              struct{ State string }
		NetworksAttachments []struct {
			Network   struct{ ID string }
			Addresses []string
		}
	}
	if err := c.get(ctx, "tasks of the Swarm", "/tasks", &tasks); err != nil {
		return nil, err
	}
	for _, t := range tasks {
		if slices.Contains([]string{"complete", "shutdown", "failed", "rejected", "remove", "orphaned"}, t.Status.State) {
			continue
		}
		for _, a := range t.NetworksAttachments {
			for _, addr := range a.Addresses {
				add(a.Network.ID, addr)
			}
		}
	}
	var services []struct {
		Endpoint struct {
			VirtualIPs []struct{ NetworkID, Addr string }
		}
	}
	if err := c.get(ctx, "services of the Swarm", "/services", &services); err != nil {
		return nil, err
	}
	for _, s := range services {
		for _, v := range s.Endpoint.VirtualIPs {
			add(v.NetworkID, v.Addr)
		}
	}
	return list, nil
}
