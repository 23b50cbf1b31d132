package store

import (
	"net/netip"
	"time"
)

// Snapshot is a complete, immutable copy of the facts. Hosts, claims and endpoints are in it only if their author's
// signature is good, see Bad for the others. A claim is the first good one that this host has seen, until its owner
// releases it, whatever etcd has now. Zero value: no facts. Readers never modify it, nor anything it
// refers to; successive Snapshots share what has not changed.
type Snapshot struct {
	Revision  int64     // the etcd revision it stands for; 0: none yet, unless FromDisk
	ClusterID uint64    // etcd's, to tell a restored or another cluster
	Taken     time.Time // when it was read from etcd
	FromDisk  bool      // from this host's checkpoint: etcd has not been reached since the start

	Hosts    map[string]Host // by host ID
	Alive    map[string]bool // host IDs with a live lease; empty when FromDisk
	Networks map[string]Network
	Blocks   map[BlockKey]Claim
	Statics  map[AddrKey]Claim
	Routers  map[netip.Addr]Claim
	// Endpoints by host ID, then by key: an event costs a copy of one host's map only. See EachEndpoint, FindEndpoint.
	Endpoints map[string]map[EndpointKey]*Endpoint
	// Revoked are the hosts that are shut out. They are in no other field, but for claims that are not yet free.
	Revoked map[string]Revocation
	Certs   map[string][]byte // renewed certificates (DER) by host ID, unchecked; empty when FromDisk
	Servers map[string][]byte // certificates (DER) for members of the embedded etcd by host ID, unchecked; empty when FromDisk
	Members []Member          // of the embedded etcd, sorted by host ID; empty: not known, or an etcd of the operator's own
	CA      []byte            // certificate of the environment's authority, DER; nil: none
	Bad     map[string]string // key below Prefix → why its value is ignored

	mark mark // the latest change in it
}

// Empty says that there are no facts yet, neither from etcd nor from disk: nothing may be added or removed by it.
func (s *Snapshot) Empty() bool { return s.Revision == 0 && !s.FromDisk }

// EachEndpoint calls fn for every endpoint, in no particular order, until fn returns false. It may be ranged over.
func (s *Snapshot) EachEndpoint(fn func(EndpointKey, Endpoint) bool) {
	for _, endpoints := range s.Endpoints {
		for key, endpoint := range endpoints {
			if !fn(key, *endpoint) {
				return
			}
		}
	}
}

// EndpointCount is the number of endpoints of all hosts.
func (s *Snapshot) EndpointCount() int {
	n := 0
	for _, endpoints := range s.Endpoints {
		n += len(endpoints)
	}
	return n
}

// Endpoint returns one endpoint by its key.
func (s *Snapshot) Endpoint(key EndpointKey) (Endpoint, bool) {
	if e, ok := s.Endpoints[key.Host][key]; ok {
		return *e, true
	}
	return Endpoint{}, false
}

// FindEndpoint returns the endpoint that holds an address: the one under a claim of its own host. Without such a one it
// returns that of the smallest host ID among those that name the address. It costs a look-up per host.
func (s *Snapshot) FindEndpoint(network string, addr netip.Addr) (Endpoint, bool) {
	owner, _ := s.Owner(network, addr)
	var found Endpoint
	ok := false
	for host := range s.Endpoints {
		e, there := s.Endpoint(EndpointKey{Host: host, Network: network, Addr: addr})
		if there && (!ok || host == owner || (found.Host != owner && host < found.Host)) {
			found, ok = e, true
		}
	}
	return found, ok
}

// Owner returns the host that has a claim on the address: on itself, or on the block that holds it. Where facts
// contradict each other the address's own claim comes first, then that of the longest block.
func (s *Snapshot) Owner(network string, addr netip.Addr) (host string, ok bool) {
	if c, ok := s.Statics[AddrKey{network, addr}]; ok {
		return c.Host, true
	}
	for bits := addr.BitLen(); bits >= 0; bits-- {
		prefix, err := addr.Prefix(bits)
		if err != nil {
			return "", false
		}
		if c, ok := s.Blocks[BlockKey{network, prefix}]; ok {
			return c.Host, true
		}
	}
	return "", false
}

// HostByNameOrID finds a host by its ID or, if exactly one has it, by its name.
func (s *Snapshot) HostByNameOrID(ref string) (Host, bool) {
	if h, ok := s.Hosts[ref]; ok {
		return h, true
	}
	var found Host
	n := 0
	for _, h := range s.Hosts {
		if h.Name == ref {
			found, n = h, n+1
		}
	}
	return found, n == 1
}

// HostName returns the name of a host for people: its name, or its ID where no fact tells the name.
func (s *Snapshot) HostName(id string) string {
	if h, ok := s.Hosts[id]; ok && h.Name != "" {
		return h.Name
	}
	return id
}
