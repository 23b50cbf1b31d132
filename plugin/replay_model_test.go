package plugin

import (
	"encoding/json"
	"net/netip"
	"strings"

	"github.com/meshsec/meshsec/ipam"
)

// The recording plugin chose addresses of its own, and the users of the recorded engines typed options that are not ours.
// A model puts our plugin's answers in the place of the recorded ones and our options in the place of theirs, and knows
// from the sequence so far which of the calls must succeed.

// outcome is what a call must come to.
type outcome int

const (
	succeeds outcome = iota
	fails
	either // what dockerd sends only to a plugin that wants a replay; the state must stay as it is
)

type model struct {
	pools     map[string]string       // recorded PoolID → ours
	prefixes  map[string]netip.Prefix // recorded pool → ours
	addrs     map[string]netip.Prefix // recorded pool and address → ours
	networks  map[string]string       // Docker's ID of a network that is there → recorded pool
	endpoints map[string]endpoint     // by Docker's ID, those that are there
	held      map[string]lease        // recorded PoolID and address → what it was handed out for
	removed   map[string]bool         // networks that were deleted
	chosen    map[string]bool         // recorded pools that the plugin chose
	naming    bool                    // the engine honours names of interfaces
	named     map[string]string       // names of interfaces that were asked for, by Docker's ID of the endpoint
	global    bool                    // with SCOPE=global: a Swarm's leader allots
}

// endpoint is one by Docker's ID of its network and its recorded address.
type endpoint struct{ network, addr string }

// lease is what an address was handed out for: containers' go back one by one, the others with their network.
type lease int

const (
	forNetwork lease = iota + 1
	forContainer
)

func newModel() *model {
	return &model{
		pools: map[string]string{}, prefixes: map[string]netip.Prefix{}, addrs: map[string]netip.Prefix{},
		networks: map[string]string{}, endpoints: map[string]endpoint{}, held: map[string]lease{}, removed: map[string]bool{}, chosen: map[string]bool{},
		named: map[string]string{},
	}
}

// fields is a request or a reply, all parts that any of the calls have.
type fields struct {
	NetworkID, EndpointID               string
	AddressSpace, Pool, SubPool, PoolID string
	Address                             string
	V6                                  bool
	Options                             map[string]any
	IPv4Data                            []poolData
	IPv6Data                            []poolData
	Interface                           struct{ Address, AddressIPv6, MacAddress string }
}

type poolData struct {
	AddressSpace, Pool, Gateway string
	AuxAddresses                map[string]string
}

// space gives a recorded address space in our words.
func space(s string) string {
	return strings.NewReplacer("StubLocal", ipam.LocalSpace, "StubGlobal", ipam.GlobalSpace).Replace(s)
}

// poolOf is the recorded pool that a recorded PoolID names.
func poolOf(id string) string {
	if parts := strings.Split(id, "/"); len(parts) >= 3 {
		return parts[1] + "/" + parts[2]
	}
	return id
}

// ours gives a recorded address of a recorded pool in our pool, as it was handed out.
func (m *model) ours(pool, addr string) string {
	bare, _, cidr := strings.Cut(addr, "/")
	p, ok := m.addrs[pool+" "+bare]
	switch {
	case !ok:
		return addr
	case cidr:
		return p.String()
	}
	return p.Addr().String()
}

// rewrite gives the request as dockerd would have sent it to us.
func (m *model) rewrite(method string, req, resp fields, raw map[string]any) {
	set := func(name, value string) {
		if _, ok := raw[name]; ok {
			raw[name] = value
		}
	}
	set("AddressSpace", space(req.AddressSpace))
	if id, ok := m.pools[req.PoolID]; ok {
		set("PoolID", id)
	}
	if options, ok := raw["Options"].(map[string]any); ok {
		foreign(options)
		if generic, ok := options["com.docker.network.generic"].(map[string]any); ok {
			foreign(generic)
		}
	}
	switch method {
	case "IpamDriver.RequestPool":
		if p, ok := m.prefixes[req.Pool]; ok && (m.global || m.pools[resp.PoolID] != "") {
			raw["Pool"] = p.String() // a replay names the pool that was chosen
		}
		if req.Pool == "" || m.chosen[req.Pool] {
			m.chosen[resp.Pool] = m.global
			raw["Options"] = map[string]any{ipam.OptionNetwork: "net-" + strings.NewReplacer(".", "-", "/", "-", ":", "-").Replace(resp.Pool)}
		}
	case "IpamDriver.RequestAddress", "IpamDriver.ReleaseAddress":
		raw["Address"] = m.ours(poolOf(req.PoolID), req.Address)
		if wish, err := netip.ParseAddr(req.Address); err == nil && m.chosen[poolOf(req.PoolID)] && raw["Address"] == req.Address {
			own, a := m.prefixes[poolOf(req.PoolID)].Addr().As4(), wish.As4() // a user's, in the pool that was chosen here
			raw["Address"] = netip.AddrFrom4([4]byte{own[0], own[1], a[2], a[3]}).String()
		}
	case "NetworkDriver.CreateNetwork", "NetworkDriver.AllocateNetwork":
		for i, d := range req.IPv4Data {
			data := raw["IPv4Data"].([]any)[i].(map[string]any)
			data["AddressSpace"] = space(d.AddressSpace)
			if p, ok := m.prefixes[d.Pool]; ok {
				data["Pool"] = p.String()
			}
			data["Gateway"] = m.ours(d.Pool, d.Gateway)
			aux := map[string]any{}
			for name, addr := range d.AuxAddresses {
				aux[name] = m.ours(d.Pool, addr)
			}
			data["AuxAddresses"] = aux
		}
	case "NetworkDriver.CreateEndpoint":
		raw["Interface"].(map[string]any)["Address"] = m.ours(m.networks[req.NetworkID], req.Interface.Address)
	}
}

// foreign takes away what the recorded users gave to the recording plugin.
func foreign(options map[string]any) {
	for key := range options {
		if !strings.HasPrefix(key, "com.docker.") && key != "RequestAddressType" {
			delete(options, key)
		}
	}
}

// confirmed tells whether a network was created with the recorded pool.
func (m *model) confirmed(pool string) bool {
	for _, p := range m.networks {
		if p == pool {
			return true
		}
	}
	return false
}

// free tells whether an endpoint of the network may have the recorded address: it was handed out for a container, and no
// other endpoint has it.
func (m *model) free(network, id, addr string) bool {
	for other, e := range m.endpoints {
		if other != id && e.network == network && e.addr == addr {
			return false
		}
	}
	bare, _, _ := strings.Cut(addr, "/")
	for key, lease := range m.held {
		if poolID, a, _ := strings.Cut(key, " "); lease == forContainer && a == bare && poolOf(poolID) == m.networks[network] {
			return true
		}
	}
	return false
}

// expect says what must come of a request.
func (m *model) expect(method string, req, resp fields) outcome {
	ok := true
	switch method {
	case "IpamDriver.RequestPool":
		if m.pools[resp.PoolID] != "" && m.confirmed(poolOf(resp.PoolID)) {
			return either
		}
		ok = !req.V6 && (m.global || req.AddressSpace == "StubLocal")
	case "IpamDriver.RequestAddress":
		if m.held[req.PoolID+" "+req.Address] != 0 {
			return either
		}
		ok = m.pools[req.PoolID] != "" && (m.confirmed(poolOf(req.PoolID)) || req.Address != "" || req.gateway() || m.global)
	case "NetworkDriver.CreateNetwork":
		ok = len(req.IPv4Data) == 1 && len(req.IPv6Data) == 0 && req.IPv4Data[0].Gateway != "" &&
			req.IPv4Data[0].AddressSpace == "StubLocal" && m.prefixes[req.IPv4Data[0].Pool].IsValid()
	case "NetworkDriver.CreateEndpoint":
		_, named := req.Options[ifNameOption] // refused unless the engine honours it
		ok = (m.naming || !named) && m.networks[req.NetworkID] != "" && m.free(req.NetworkID, req.EndpointID, req.Interface.Address)
	case "NetworkDriver.Join":
		_, ok = m.endpoints[req.EndpointID]
	case "NetworkDriver.AllocateNetwork":
		ok = m.global && len(req.IPv4Data) == 1 && len(req.IPv6Data) == 0 && m.prefixes[req.IPv4Data[0].Pool].IsValid()
	}
	if ok {
		return succeeds
	}
	return fails
}

func (f fields) gateway() bool {
	return f.Options["RequestAddressType"] == "com.docker.network.gateway"
}

// ifNameOption asks for a name of the endpoint's interface.
const ifNameOption = "com.docker.network.endpoint.ifname"

// learn takes in what a call that succeeded has changed.
func (m *model) learn(method string, req, resp, reply fields) {
	switch method {
	case "IpamDriver.RequestPool":
		m.pools[resp.PoolID] = reply.PoolID
		m.prefixes[resp.Pool] = netip.MustParsePrefix(reply.Pool)
	case "IpamDriver.RequestAddress":
		bare, _, _ := strings.Cut(resp.Address, "/")
		m.addrs[poolOf(req.PoolID)+" "+bare] = netip.MustParsePrefix(reply.Address)
		m.held[req.PoolID+" "+bare] = forContainer
		if req.gateway() || !m.confirmed(poolOf(req.PoolID)) {
			m.held[req.PoolID+" "+bare] = forNetwork
		}
	case "IpamDriver.ReleaseAddress":
		if key := req.PoolID + " " + req.Address; m.held[key] == forContainer {
			delete(m.held, key)
		}
	case "IpamDriver.ReleasePool":
		delete(m.pools, req.PoolID)
		for key := range m.held {
			if strings.HasPrefix(key, req.PoolID+" ") {
				delete(m.held, key)
			}
		}
	case "NetworkDriver.CreateNetwork":
		m.networks[req.NetworkID] = req.IPv4Data[0].Pool
	case "NetworkDriver.DeleteNetwork":
		m.removed[req.NetworkID] = true
		delete(m.networks, req.NetworkID)
		for id, e := range m.endpoints {
			if e.network == req.NetworkID {
				delete(m.endpoints, id)
			}
		}
	case "NetworkDriver.CreateEndpoint":
		m.endpoints[req.EndpointID] = endpoint{req.NetworkID, req.Interface.Address}
		m.named[req.EndpointID], _ = req.Options[ifNameOption].(string)
	case "NetworkDriver.DeleteEndpoint":
		delete(m.endpoints, req.EndpointID)
	}
}

// parse reads a request or a reply into fields; what is null or empty gives none.
func parse(text json.RawMessage) (f fields, err error) {
	if len(text) > 0 {
		err = json.Unmarshal(text, &f)
	}
	return f, err
}
