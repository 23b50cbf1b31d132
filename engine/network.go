package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// Network is one of Docker's networks, as its list has it and as it is asked for.
type Network struct {
	ID       string `json:"Id,omitempty"`
	Name     string
	Driver   string `json:",omitempty"`
	Scope    string `json:",omitempty"` // "local" or "swarm"
	Internal bool   `json:",omitempty"`
	// Attachable: containers that are no tasks of the Swarm may be in it.
	Attachable bool `json:",omitempty"`
	// ConfigOnly: a node's configuration, which a network of the Swarm is made from there.
	ConfigOnly bool       `json:",omitempty"`
	ConfigFrom ConfigFrom `json:"ConfigFrom,omitzero"`
	IPAM       IPAM
	Options    map[string]string `json:",omitempty"`
	Labels     map[string]string `json:",omitempty"`
}

// ConfigFrom names the configuration that a network is made from on each node.
type ConfigFrom struct{ Network string }

// IPAM says where a network's addresses come from.
type IPAM struct {
	Driver  string            `json:",omitempty"`
	Options map[string]string `json:",omitempty"`
	// Config is empty of ConfigOnly networks of engines from HidesConfigPools on.
	Config []Subnet `json:",omitempty"`
}

// Subnet is a pool, as text.
type Subnet struct {
	Subnet  string `json:",omitempty"`
	Gateway string `json:",omitempty"`
}

// Networks lists the networks that this engine knows: its own, on a manager all of the Swarm, on a worker those that its
// tasks use.
func (c *Client) Networks(ctx context.Context) (list []Network, err error) {
	return list, c.get(ctx, "networks", "/networks", &list)
}

// CreateNetwork makes a network, by the driver's call if it is not ConfigOnly and not the Swarm's: never ask this for a call of
// dockerd's.
func (c *Client) CreateNetwork(ctx context.Context, n Network) error {
	request := struct {
		Network
		CheckDuplicate bool // engines before 25 make a second network of the same name without it
	}{n, true}
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	answer, err := c.request(ctx, http.MethodPost, fmt.Sprintf("network %s", n.Name), "/networks/create", text, http.StatusCreated)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// PluginEnabled says whether a managed plugin, named with its tag, is enabled; ErrForgotten: there is none.
func (c *Client) PluginEnabled(ctx context.Context, name string) (bool, error) {
	var answer struct{ Enabled bool }
	err := c.get(ctx, "plugin "+name, "/plugins/"+name+"/json", &answer)
	return answer.Enabled, err
}
