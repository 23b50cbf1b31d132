package plugin

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

// shaped tells whether a reply has what dockerd needs of it, and nothing that it must not have.
func shaped(method string, reply fields, text string) error {
	switch method {
	case "IpamDriver.RequestPool":
		pool, err := netip.ParsePrefix(reply.Pool)
		if err != nil || pool != pool.Masked() || reply.PoolID == "" {
			return fmt.Errorf("pool %q with ID %q", reply.Pool, reply.PoolID)
		}
	case "IpamDriver.RequestAddress":
		if p, err := netip.ParsePrefix(reply.Address); err != nil || p.IsSingleIP() {
			return fmt.Errorf("address %q is not one of a pool in CIDR notation", reply.Address)
		}
	case "NetworkDriver.CreateEndpoint":
		if reply.Interface.Address != "" || reply.Interface.AddressIPv6 != "" {
			return errors.New("the reply has an address, for which dockerd rolls the endpoint back")
		}
	case "NetworkDriver.Join":
		if !strings.Contains(text, `"SrcName":"ms`) || !strings.Contains(text, `"DstPrefix":"eth"`) {
			return fmt.Errorf("no interface in %s", text)
		}
		if !strings.Contains(text, `"Gateway":""`) || !strings.Contains(text, `"DisableGatewayService":false`) {
			return fmt.Errorf("a gateway in %s", text)
		}
	case "NetworkDriver.EndpointOperInfo":
		if text != `{"Value":{}}` {
			return fmt.Errorf("a value in %s", text)
		}
	}
	return nil
}

// nameIn tells whether a reply to Join names the interface as was asked for.
func (m *model) nameIn(method string, req fields, text string) error {
	if method != "NetworkDriver.Join" {
		return nil
	}
	name := m.named[req.EndpointID]
	if strings.Contains(text, `"DstName"`) != (name != "") || name != "" && !strings.Contains(text, fmt.Sprintf(`"DstName":%q`, name)) {
		return fmt.Errorf("asked for the name %q, and got %s", name, text)
	}
	return nil
}

// gone tells whether a delete, once answered, has deleted. Docker believes so, whatever the answer.
func (m *model) gone(r *rig, method string, req fields) error {
	local := r.cp.Local()
	switch method {
	case "NetworkDriver.DeleteEndpoint":
		if e, ok := local.Endpoints[req.EndpointID]; ok {
			return fmt.Errorf("the endpoint with %v is still there", e.Addr)
		}
	case "NetworkDriver.DeleteNetwork":
		if n, ok := local.Networks[req.NetworkID]; ok {
			return fmt.Errorf("network %s is still there", n.Network)
		}
	case "IpamDriver.ReleaseAddress":
		for k, lease := range local.Leases {
			if k.Addr.String() == m.ours(poolOf(req.PoolID), req.Address) && lease.PoolID == m.pools[req.PoolID] &&
				lease.Kind == store.LeaseEndpoint && lease.Freed.IsZero() {
				return fmt.Errorf("the lease of %v is still there", k.Addr)
			}
		}
	}
	return nil
}

// left says what is still there of the networks that the trace removed: in the checkpoint, among the links, in the facts.
func (m *model) left(r *rig) string {
	local := r.cp.Local()
	here := map[string]bool{} // names of networks that stay, for the recorded host was left with some
	for id, n := range local.Networks {
		if m.removed[id] && m.networks[id] == "" {
			return "network " + id
		}
		here[n.Network] = true
	}
	for _, p := range local.Pools {
		if held := m.holds(p.ID); !held && !here[p.Network] {
			return "pool " + p.ID
		}
		here[p.Network] = true
	}
	for id, e := range local.Endpoints {
		if _, ok := m.endpoints[id]; !ok {
			return "endpoint " + id
		}
		if !here[e.Network] {
			return "endpoint of " + e.Network
		}
	}
	for k := range local.Leases {
		if !here[k.Network] {
			return fmt.Sprint("lease ", k)
		}
	}
	for k := range local.Blocks {
		if !here[k.Network] {
			return fmt.Sprint("block ", k)
		}
	}
	for k := range local.Statics {
		if !here[k.Network] {
			return fmt.Sprint("static ", k)
		}
	}
	for name := range local.Unused {
		return "a deletion still to be made, of network " + name
	}
	ends := map[string]bool{}
	for id := range local.Endpoints {
		_, router := link.EndpointLink(id)
		ends[router] = true
	}
	veths, _ := r.links.Veths()
	for _, end := range veths {
		if !ends[end] {
			return "veth " + end
		}
	}
	if len(m.networks)+len(m.pools) == 0 && len(local.Networks)+len(local.Pools)+len(local.Leases)+
		len(local.Blocks)+len(local.Statics)+len(local.Endpoints)+len(veths) > 0 {
		return fmt.Sprintf("all is removed, and the checkpoint has %+v", local.Networks)
	}
	return m.facts(r, here)
}

// facts says what is still in etcd.
func (m *model) facts(r *rig, here map[string]bool) string {
	snap := r.st.Snapshot()
	for name := range snap.Networks {
		if !here[name] {
			return fmt.Sprint("fact of network ", name, ", blocks ", snap.Blocks, ", statics ", snap.Statics)
		}
	}
	for k := range snap.Blocks {
		if !here[k.Network] {
			return fmt.Sprint("fact of block ", k)
		}
	}
	for k := range snap.Statics {
		if !here[k.Network] {
			return fmt.Sprint("fact of static ", k)
		}
	}
	own := map[netip.Addr]bool{}
	for _, e := range r.cp.Local().Endpoints {
		own[e.Addr] = true
	}
	for k := range snap.EachEndpoint {
		if !here[k.Network] || !own[k.Addr] {
			return fmt.Sprint("fact of endpoint ", k)
		}
	}
	return ""
}

// holds tells whether Docker has not given our pool back yet.
func (m *model) holds(id string) bool {
	for _, held := range m.pools {
		if held == id {
			return true
		}
	}
	return false
}
