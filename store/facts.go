package store

import (
	"encoding/json"
	"net/netip"
	"time"
)

// MaxObserved bounds Host.Observed: a fact stays far below the size of the longest value.
const MaxObserved = 512

// Version is the version of every fact's JSON value. A value with a higher one is not read (Snapshot.Bad says so).
const Version = 1

// Host is the fact hosts/<host-id>: a Docker engine with its plugin. Written by that host only.
type Host struct {
	V               int          `json:"v"`
	ID              string       `json:"id"`   // 16 lower-case hex digits
	Name            string       `json:"name"` // the host's name, for people
	OS              string       `json:"os,omitempty"`
	Arch            string       `json:"arch,omitempty"`
	Version         string       `json:"version,omitempty"`           // of meshsec
	DataPlane       string       `json:"data_plane,omitempty"`        // "kernel" or "userspace"
	DataPlaneReason string       `json:"data_plane_reason,omitempty"` // why it was chosen
	Cert            []byte       `json:"cert,omitempty"`              // identity certificate, DER
	HandshakeKey    []byte       `json:"handshake_key,omitempty"`     // X25519 public key, 32 bytes
	Addrs           []netip.Addr `json:"addrs,omitempty"`             // underlay addresses, best first
	Port            uint16       `json:"port,omitempty"`              // UDP, of handshake and ESP
	// Forwards are where a NAT forwards to this host, best first; they come before Addrs.
	Forwards []netip.AddrPort `json:"forwards,omitempty"`
	// Observed is where packets of other hosts, by ID, come from to this one, as far as it is none of their own addresses:
	// they are behind a NAT. At most MaxObserved.
	Observed    map[string]netip.AddrPort `json:"observed,omitempty"`
	Encap       string                    `json:"encap,omitempty"`        // "udp" or "esp"
	Router      netip.Addr                `json:"router,omitzero"`        // router address
	UnderlayMTU int                       `json:"underlay_mtu,omitempty"` // bytes
	Authority   bool                      `json:"authority,omitempty"`    // it holds the authority's key
	// Etcd is where the host serves, or would serve, a member of the embedded etcd, on Addrs; zero: it can't be one.
	Etcd  EtcdPorts `json:"etcd,omitzero"`
	Since time.Time `json:"since,omitzero"`
	Seq   uint64    `json:"seq,omitempty"` // grows with every change: a fact that is not newer is ignored
	Sig   []byte    `json:"sig,omitempty"`
	// Extra are the fields that this version does not know; they are written back as they were read.
	Extra map[string]json.RawMessage `json:"-"`
}

// Network is the fact networks/<name>: a flat pool of addresses that spans all hosts.
type Network struct {
	V    int          `json:"v"`
	Name string       `json:"name"`
	Pool netip.Prefix `json:"pool"`
	// Dynamic are the ranges that blocks are cut from; the rest of the pool is claimed address by address.
	Dynamic  []netip.Prefix             `json:"dynamic,omitempty"`
	Gateway  netip.Addr                 `json:"gateway,omitzero"` // the same on every host
	BlockLen int                        `json:"block_len"`        // prefix length of a block, bits
	Aux      map[string]netip.Addr      `json:"aux,omitempty"`
	Options  map[string]string          `json:"options,omitempty"`
	Since    time.Time                  `json:"since,omitzero"`
	Sig      []byte                     `json:"sig,omitempty"`
	Extra    map[string]json.RawMessage `json:"-"`
}

// Claim is the value of blocks/…, static/… and routers/…: which host owns the thing that the key names.
type Claim struct {
	V     int                        `json:"v"`
	Host  string                     `json:"host"`
	Since time.Time                  `json:"since,omitzero"`
	Sig   []byte                     `json:"sig,omitempty"`
	Extra map[string]json.RawMessage `json:"-"`
}

// Release is the fact released/<host-id>/<key of the claim>: the host has given up every claim on it that is not younger.
type Release struct {
	V     int       `json:"v"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
	Sig   []byte    `json:"sig,omitempty"`
}

// Revocation is the fact revoked/<host-id>, signed with the authority's key: the host is shut out for good.
type Revocation struct {
	V     int       `json:"v"`
	Host  string    `json:"host"`
	Name  string    `json:"name,omitempty"` // that it had, for people
	Since time.Time `json:"since"`
	Sig   []byte    `json:"sig,omitempty"`
}

// Endpoint is the fact endpoints/<host-id>/<network>/<address>: one container's attachment. Written by that host only.
//
// What is said of the container comes from Docker's API a moment after its start, and may stay empty where the plugin
// can't reach that: then only Name (from engine 29 on) and the Ports that are certain are known.
type Endpoint struct {
	V           int        `json:"v"`
	ID          string     `json:"id"` // Docker's endpoint ID
	Host        string     `json:"host"`
	Network     string     `json:"network"` // name in the environment
	Addr        netip.Addr `json:"addr"`
	MAC         string     `json:"mac"`
	Name        string     `json:"name,omitempty"` // of the container, as in `docker ps`; of a Swarm's task: service.slot.id
	ContainerID string     `json:"container_id,omitempty"`
	// Aliases are the further names that the container has in this network, sorted: --network-alias, a Compose service's
	// name. Neither Name nor the shortened ContainerID is among them.
	Aliases []string `json:"aliases,omitempty"`
	// Service is what the container is one instance of: the Compose service, or the Swarm service without its stack's name.
	Service string `json:"service,omitempty"`
	// Project is what the service belongs to: the Compose project, or the Swarm stack.
	Project string `json:"project,omitempty"`
	// Labels are the container's, without those that tools write for themselves, and bounded in number and size.
	Labels map[string]string `json:"labels,omitempty"`
	// Ports are those that the container exposes or publishes, sorted and bounded in number.
	Ports []Port                     `json:"ports,omitempty"`
	Since time.Time                  `json:"since,omitzero"`
	Sig   []byte                     `json:"sig,omitempty"`
	Extra map[string]json.RawMessage `json:"-"`
}

// BlockKey names a block: a slice of a network's pool.
type BlockKey struct {
	Network string
	Prefix  netip.Prefix
}

// AddrKey names an address of a network.
type AddrKey struct {
	Network string
	Addr    netip.Addr
}

// EndpointKey names an endpoint fact.
type EndpointKey struct {
	Host    string
	Network string
	Addr    netip.Addr
}

// Key is the name of the endpoint's fact.
func (e Endpoint) Key() EndpointKey {
	return EndpointKey{Host: e.Host, Network: e.Network, Addr: e.Addr}
}

// authority is the value of the key ca. The first one of an environment has only a certificate; one that replaced another
// has signed it with its key.
type authority struct {
	V    int    `json:"v"`
	Cert []byte `json:"cert"` // DER
	// Cross are certificates of authorities by the ones before them: the way from an older one to this.
	Cross  [][]byte  `json:"cross,omitempty"`
	Before [][]byte  `json:"before,omitempty"` // those before it that are still believed, the last one first
	Since  time.Time `json:"since,omitzero"`
	Sig    []byte    `json:"sig,omitempty"`
}
