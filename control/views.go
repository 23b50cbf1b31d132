// Package control is the agent's control socket: the views that it shows of a host, an HTTP server on a unix socket that
// answers them as JSON, and the client that the command line uses. It computes nothing: a Source supplies the views.
package control

import (
	"net/netip"
	"time"
)

// Health is an overall verdict; the command line's exit code follows it: 0, 1, 2.
type Health string

// The three verdicts.
const (
	OK       Health = "ok"
	Degraded Health = "degraded" // something is wrong, but containers are served
	Broken   Health = "broken"   // this host does not serve containers
)

// Status is what `meshsec status` shows.
type Status struct {
	Health   Health   `json:"health"`
	Problems []string `json:"problems"` // plain sentences; empty when Health is OK
	Warnings []string `json:"warnings"` // what to do some time; they don't count for Health

	Version     string `json:"version"`
	HostID      string `json:"hostID"`
	HostName    string `json:"hostName"`
	Environment string `json:"environment"`
	// DataPlane is "userspace"; Reason says why it was chosen.
	DataPlane       string     `json:"dataPlane"`
	DataPlaneReason string     `json:"dataPlaneReason"`
	Underlay        []string   `json:"underlay"` // address:port
	Router          netip.Addr `json:"router"`
	MTU             int        `json:"mtu"` // inner MTU, bytes
	// Docker is the engine's version, as it last told it; empty: it has not answered yet.
	Docker string `json:"docker,omitempty"`
	// RouterNamespace is the path of the router's namespace on the host.
	RouterNamespace string `json:"routerNamespace"`
	// Survives says what the router namespace outlives: "crash, disable and upgrade", or "crash" where /run is not shared.
	Survives string `json:"survives"`

	Etcd     Etcd      `json:"etcd"`
	Revision int64     `json:"revision"` // of the facts that this host knows
	Applied  int64     `json:"applied"`  // of the facts that this host carries
	FromDisk bool      `json:"fromDisk"` // the facts are the checkpoint's: etcd was not reached since the start
	Started  time.Time `json:"started"`

	Hosts     int               `json:"hosts"`
	PeersUp   int               `json:"peersUp"`
	Networks  int               `json:"networks"`
	Endpoints int               `json:"endpoints"`
	Blocks    int               `json:"blocks"`
	Ignored   []string          `json:"ignored"` // facts that are not accepted, with the reason
	Drops     map[string]uint64 `json:"drops"`   // packets of no peer, by reason
}

// Etcd is where the facts are.
type Etcd struct {
	Endpoints []string `json:"endpoints"`
	Embedded  bool     `json:"embedded"` // one of its servers runs in this agent
	Reachable bool     `json:"reachable"`
	Why       string   `json:"why,omitempty"` // when not reachable
	// Members are those of the embedded etcd; empty: not known, or an etcd of the operator's own.
	Members []Member `json:"members,omitempty"`
	// Spare is how many members may be lost at once before etcd stops; negative: it has stopped.
	Spare int `json:"spare"`
	// Reserves is how many hosts could become members.
	Reserves int `json:"reserves"`
}

// Member is a member of the embedded etcd.
type Member struct {
	HostID  string    `json:"hostID"`
	Host    string    `json:"host"`             // name
	Learner bool      `json:"learner"`          // it has no vote yet
	Down    time.Time `json:"down,omitzero"`    // since when it has not answered; zero: it does
	Removed bool      `json:"removed,omitzero"` // its host was removed from the environment
}

// Host is a row of `meshsec hosts`.
type Host struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Self     bool   `json:"self"`
	Alive    bool   `json:"alive"` // its lease in etcd is there
	Underlay string `json:"underlay"`
	// Observed is where other hosts see it, because it is behind a NAT; empty: at its own addresses.
	Observed  []netip.AddrPort `json:"observed,omitempty"`
	Router    netip.Addr       `json:"router"`
	DataPlane string           `json:"dataPlane"`
	Encap     string           `json:"encap"`
	OS        string           `json:"os"`
	Arch      string           `json:"arch"`
	Version   string           `json:"version"`
	Endpoints int              `json:"endpoints"`
	Authority bool             `json:"authority"` // it holds the key of the certificate authority
	Since     time.Time        `json:"since"`
}

// Peer is a row of `meshsec peers`.
type Peer struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	State  string `json:"state"`            // "up" or the handshake's state
	Reason string `json:"reason,omitempty"` // when not up, in plain words
	Remote string `json:"remote"`           // address:port
	Encap  string `json:"encap"`
	Cipher string `json:"cipher,omitempty"`
	// LastHandshake and LastRx are zero when there was none.
	LastHandshake   time.Time         `json:"lastHandshake"`
	LastRx          time.Time         `json:"lastRx"`
	RTT             time.Duration     `json:"rtt"` // of the last probe, nanoseconds; 0: none yet
	MTU             int               `json:"mtu"` // of the routes to it: inner MTU of the path, bytes; 0: no route yet
	RxBytes         uint64            `json:"rxBytes"`
	TxBytes         uint64            `json:"txBytes"`
	RxPackets       uint64            `json:"rxPackets"`
	TxPackets       uint64            `json:"txPackets"`
	Drops           map[string]uint64 `json:"drops"`
	DataPlane       string            `json:"dataPlane"`
	DataPlaneReason string            `json:"dataPlaneReason"`
	Endpoints       int               `json:"endpoints"`
}

// Network is a row of `meshsec networks`.
type Network struct {
	Name      string         `json:"name"`
	Pool      netip.Prefix   `json:"pool"`
	Dynamic   []netip.Prefix `json:"dynamic"`
	Gateway   netip.Addr     `json:"gateway"`
	BlockLen  int            `json:"blockLen"`
	Here      bool           `json:"here"`     // a Docker network of this host maps to it
	DockerID  string         `json:"dockerID"` // of that network
	Blocks    int            `json:"blocks"`
	Endpoints int            `json:"endpoints"`
}

// Endpoint is a row of `meshsec endpoints`.
type Endpoint struct {
	Network   string     `json:"network"`
	Addr      netip.Addr `json:"addr"`
	MAC       string     `json:"mac"`
	Host      string     `json:"host"` // name
	HostID    string     `json:"hostID"`
	Name      string     `json:"name"` // the container's
	Container string     `json:"container"`
	ID        string     `json:"id"`
	Since     time.Time  `json:"since"`
	// What Docker says of the container beside its name; store.Endpoint tells what each means.
	Aliases []string          `json:"aliases,omitempty"`
	Service string            `json:"service,omitempty"`
	Project string            `json:"project,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Ports   []string          `json:"ports,omitempty"` // as in `docker ps`: 80/tcp, *:8080->80/tcp, 192.0.2.1:8080->80/tcp
}

// Block is a row of `meshsec blocks`: a slice of a pool that a host assigns from, or a single address claimed outside.
type Block struct {
	Network string       `json:"network"`
	Prefix  netip.Prefix `json:"prefix"`
	Kind    string       `json:"kind"` // "block" or "static"
	Host    string       `json:"host"`
	HostID  string       `json:"hostID"`
	Used    int          `json:"used"` // endpoints in it
	Size    int          `json:"size"`
	Since   time.Time    `json:"since"`
}

// Version is what `meshsec version` shows.
type Version struct {
	Client string `json:"client"`
	Agent  string `json:"agent"`
	Go     string `json:"go"`
	Arch   string `json:"arch"`
}

// DNS is what `meshsec dns` shows: what a container is answered about a name, and why.
type DNS struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	From    string   `json:"from"`
	Status  string   `json:"status"` // NOERROR, NXDOMAIN, or forwarded: the host's resolvers decide
	Records []string `json:"records"`
	Why     []string `json:"why"`
}
