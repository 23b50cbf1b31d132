package engine

import (
	"cmp"
	"context"
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
