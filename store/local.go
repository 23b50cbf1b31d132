package store

import (
	"maps"
	"net/netip"
	"time"
)

// Local is everything that this host holds: what the Checkpoint keeps on disk. A Local got from Checkpoint.Local is
// immutable. Inside Checkpoint.Update it is a copy whose maps may be changed; slices and maps inside the maps' values are
// shared with earlier copies, so replace them, never write into them.
type Local struct {
	Identity  Identity
	Networks  map[string]LocalNetwork  // by Docker's network ID (64 hex digits)
	Pools     map[string]LocalPool     // by PoolID
	Leases    map[AddrKey]Lease        // every address that this host has handed out to Docker
	Blocks    map[BlockKey]Claim       // claims of this host
	Statics   map[AddrKey]Claim        // claims of this host
	Endpoints map[string]LocalEndpoint // by Docker's endpoint ID
	// Unused are networks that this host has left, or has begun to create, by name: whoever uses them last deletes their
	// facts. The time is the fact's Since; zero: not known.
	Unused map[string]time.Time
	// Managed are the pools that a Swarm has asked for on this host, which is or was the leader of its managers, by PoolID, and
	// Allotted the addresses that it has been given for tasks. They are no claims: the node that runs a task claims its address.
	Managed  map[string]ManagedPool
	Allotted map[AddrKey]Allotment
}

// ManagedPool is a pool that a Swarm's leader allots addresses of.
type ManagedPool struct {
	ID       string       `json:"id"`
	Network  string       `json:"network"` // name in the environment
	Pool     netip.Prefix `json:"pool"`
	SubPool  netip.Prefix `json:"sub_pool,omitzero"`
	Fact     Network      `json:"fact"`                // the network: as proposed, and as it is once DockerID is set
	DockerID string       `json:"docker_id,omitempty"` // Docker's network that was allocated with it
	Since    time.Time    `json:"since,omitzero"`
}

// Allotment is an address that a Swarm's leader has been given.
type Allotment struct {
	PoolID string    `json:"pool_id"`
	Since  time.Time `json:"since,omitzero"`
}

// LocalNetwork is a Docker network on this host.
type LocalNetwork struct {
	DockerID string            `json:"docker_id"`
	Network  string            `json:"network"` // name in the environment
	PoolID   string            `json:"pool_id"`
	Pool     netip.Prefix      `json:"pool"`
	Gateway  netip.Addr        `json:"gateway,omitzero"`
	Internal bool              `json:"internal,omitempty"`
	MTU      int               `json:"mtu,omitempty"` // bytes; 0: computed
	Options  map[string]string `json:"options,omitempty"`
	Since    time.Time         `json:"since,omitzero"`
	// Forgetful: a container that comes back gets any free address, not the one that it had.
	Forgetful bool `json:"forgetful,omitempty"`
}

// swarmIDLen is the length of a Swarm's IDs, in characters of base 36; those of dockerd's own networks have 64 digits.
const swarmIDLen = 25

// OfSwarm says that the network is a Swarm's. dockerd makes it when the host gets a task of it and keeps it nowhere: after a
// kill of dockerd, or of the host, it makes the same network again.
func (n LocalNetwork) OfSwarm() bool { return len(n.DockerID) == swarmIDLen }

// LocalPool is a pool that Docker has asked this host's IPAM driver for.
type LocalPool struct {
	ID        string       `json:"id"`
	Network   string       `json:"network"` // name in the environment
	Pool      netip.Prefix `json:"pool"`
	SubPool   netip.Prefix `json:"sub_pool,omitzero"`
	Fact      Network      `json:"fact"`                // the network: as proposed, and as it is once Confirmed
	Confirmed bool         `json:"confirmed,omitempty"` // a CreateNetwork has named it
	Since     time.Time    `json:"since,omitzero"`
	// Released is when Docker gave a Confirmed pool back, which it does before it deletes the network.
	Released time.Time `json:"released,omitzero"`
}

// LeaseKind says what an address was handed out for.
type LeaseKind string

// The kinds of leases.
const (
	LeaseGateway  LeaseKind = "gateway"
	LeaseAux      LeaseKind = "aux"
	LeaseEndpoint LeaseKind = "endpoint"
)

// Lease is an address handed out to Docker, or resting after Docker gave it back.
type Lease struct {
	Kind   LeaseKind `json:"kind"`
	PoolID string    `json:"pool_id"`
	Static bool      `json:"static,omitempty"` // outside the dynamic range
	Since  time.Time `json:"since,omitzero"`
	Freed  time.Time `json:"freed,omitzero"` // set: resting
	// Name and Container are the name and the ID of the container that has or had the address, as far as they are known.
	Name      string `json:"name,omitempty"`
	Container string `json:"container,omitempty"`
}

// LocalEndpoint is an endpoint on this host: its fact, and what only this host needs to know.
type LocalEndpoint struct {
	Endpoint
	DockerNetwork string // Docker's network ID
	SandboxKey    string
	Joined        bool
	Link          string // the container's end
	MTU           int    // bytes
	// Services says who has given, or is to give, the container its route to this host's services by this endpoint.
	Services RouteGiver
	IfName   string // of the interface in the container; empty: Docker chooses it
}

// RouteGiver is who sees to a container's route to the services of its host: it has one, by one of its endpoints.
type RouteGiver string

// The givers of routes.
const (
	RouteNone     RouteGiver = ""       // none by this endpoint
	RouteByDocker RouteGiver = "docker" // as the answer to Join told it to
	RouteByAgent  RouteGiver = "agent"  // the agent itself, after the start
)

// clone copies the struct and its maps, not the maps' values.
func (l *Local) clone() *Local {
	c := *l
	c.Networks = cloneMap(l.Networks)
	c.Pools = cloneMap(l.Pools)
	c.Leases = cloneMap(l.Leases)
	c.Blocks = cloneMap(l.Blocks)
	c.Statics = cloneMap(l.Statics)
	c.Endpoints = cloneMap(l.Endpoints)
	c.Unused = cloneMap(l.Unused)
	c.Managed = cloneMap(l.Managed)
	c.Allotted = cloneMap(l.Allotted)
	return &c
}

func cloneMap[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return maps.Clone(m)
}
