package store

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"
)

// The names of a Local's things in the journal: kind, then what tells one from the other.
const (
	identityName   = "identity"
	networksKind   = "networks/"
	poolsKind      = "pools/"
	leasesKind     = "leases/"
	blocksKind     = "blocks/"
	staticsKind    = "static/"
	endpointsKind  = "endpoints/"
	unusedKind     = "unused/"
	managedKind    = "managed/"
	allottedKind   = "allotted/"
	addrNameFormat = "%s%s/%s"
)

// identityValue is an Identity with its secrets: the one place where they are written.
type identityValue struct {
	Environment string     `json:"environment"`
	HostID      string     `json:"host_id"`
	HostName    string     `json:"host_name"`
	Private     []byte     `json:"private"`
	Cert        []byte     `json:"cert"`
	Key         []byte     `json:"key"`
	CA          []byte     `json:"ca"`
	CAKey       []byte     `json:"ca_key,omitempty"`
	Router      netip.Addr `json:"router,omitzero"`
	Endpoints   []string   `json:"endpoints,omitempty"`
	Since       time.Time  `json:"since,omitzero"`
	Exported    time.Time  `json:"exported,omitzero"`
	Imported    bool       `json:"imported,omitempty"`
	Founder     bool       `json:"founder,omitempty"`
	CAFact      []byte     `json:"ca_fact,omitempty"`
	CASince     time.Time  `json:"ca_since,omitzero"`
	NextCA      []byte     `json:"next_ca,omitempty"`
	NextKey     []byte     `json:"next_key,omitempty"`
	Member      bool       `json:"member,omitempty"`
	EngineAPI   string     `json:"engine_api,omitempty"`
}

// endpointValue is a LocalEndpoint without the fact's methods in the way.
type endpointValue struct {
	Fact          Endpoint   `json:"fact"`
	DockerNetwork string     `json:"docker_network"`
	SandboxKey    string     `json:"sandbox_key,omitempty"`
	Joined        bool       `json:"joined,omitempty"`
	Link          string     `json:"link,omitempty"`
	MTU           int        `json:"mtu,omitempty"`
	Services      RouteGiver `json:"services,omitempty"`
	IfName        string     `json:"if_name,omitempty"`
}

// MarshalJSON writes the fact and this host's part of the endpoint.
func (e LocalEndpoint) MarshalJSON() ([]byte, error) {
	return json.Marshal(endpointValue{e.Endpoint, e.DockerNetwork, e.SandboxKey, e.Joined, e.Link, e.MTU, e.Services, e.IfName})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (e *LocalEndpoint) UnmarshalJSON(b []byte) error {
	var v endpointValue
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*e = LocalEndpoint{v.Fact, v.DockerNetwork, v.SandboxKey, v.Joined, v.Link, v.MTU, v.Services, v.IfName}
	return nil
}

func identityToValue(i Identity) identityValue {
	return identityValue{i.Environment, i.HostID, i.HostName, i.Private.Bytes, i.Cert, i.Key.Bytes, i.CA, i.CAKey.Bytes,
		i.Router, i.Endpoints, i.Since, i.Exported, i.Imported, i.Founder, i.CAFact, i.CASince, i.NextCA, i.NextKey.Bytes, i.Member, i.EngineAPI}
}

func identityFromValue(v identityValue) Identity {
	return Identity{v.Environment, v.HostID, v.HostName, Secret{v.Private}, v.Cert, Secret{v.Key}, v.CA, Secret{v.CAKey},
		v.Router, v.Endpoints, v.Since, v.Exported, v.Imported, v.Founder, v.CAFact, v.CASince, v.NextCA, Secret{v.NextKey}, v.Member, v.EngineAPI}
}

// diffLocal returns the values that changed from one Local to the next by name; nil for what is gone.
func diffLocal(from, to *Local) (map[string]json.RawMessage, error) {
	d := differ{changes: map[string]json.RawMessage{}}
	if !reflect.DeepEqual(from.Identity, to.Identity) {
		d.put(identityName, identityToValue(to.Identity))
	}
	diffMap(&d, from.Networks, to.Networks, func(k string) string { return networksKind + k })
	diffMap(&d, from.Pools, to.Pools, func(k string) string { return poolsKind + k })
	diffMap(&d, from.Leases, to.Leases, func(k AddrKey) string { return fmt.Sprintf(addrNameFormat, leasesKind, k.Network, k.Addr) })
	diffMap(&d, from.Blocks, to.Blocks, func(k BlockKey) string { return fmt.Sprintf(addrNameFormat, blocksKind, k.Network, k.Prefix) })
	diffMap(&d, from.Statics, to.Statics, func(k AddrKey) string { return fmt.Sprintf(addrNameFormat, staticsKind, k.Network, k.Addr) })
	diffMap(&d, from.Endpoints, to.Endpoints, func(k string) string { return endpointsKind + k })
	diffMap(&d, from.Unused, to.Unused, func(k string) string { return unusedKind + k })
	diffMap(&d, from.Managed, to.Managed, func(k string) string { return managedKind + k })
	diffMap(&d, from.Allotted, to.Allotted, func(k AddrKey) string { return fmt.Sprintf(addrNameFormat, allottedKind, k.Network, k.Addr) })
	return d.changes, d.err
}

type differ struct {
	changes map[string]json.RawMessage
	err     error
}

func (d *differ) put(name string, value any) {
	b, err := json.Marshal(value)
	if err != nil && d.err == nil {
		d.err = fmt.Errorf("%s: %w", name, err)
	}
	d.changes[name] = b
}

func diffMap[K comparable, V any](d *differ, from, to map[K]V, name func(K) string) {
	eachChange(from, to, func(k K, v V) { d.put(name(k), v) }, func(k K) { d.changes[name(k)] = nil })
}

// decodeLocal is the inverse: a Local from all values.
func decodeLocal(values map[string]json.RawMessage) (*Local, error) {
	l := (&Local{}).clone()
	for name, value := range values {
		if err := l.set(name, value); err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
	}
	return l, nil
}

func (l *Local) set(name string, value json.RawMessage) error {
	if name == identityName {
		var v identityValue
		err := json.Unmarshal(value, &v)
		l.Identity = identityFromValue(v)
		return err
	}
	kind, rest, _ := strings.Cut(name, "/")
	network, place, _ := strings.Cut(rest, "/")
	switch kind + "/" {
	case networksKind:
		return setValue(l.Networks, rest, nil, value)
	case poolsKind:
		return setValue(l.Pools, rest, nil, value)
	case leasesKind:
		addr, err := netip.ParseAddr(place)
		return setValue(l.Leases, AddrKey{network, addr}, err, value)
	case blocksKind:
		prefix, err := netip.ParsePrefix(place)
		return setValue(l.Blocks, BlockKey{network, prefix}, err, value)
	case staticsKind:
		addr, err := netip.ParseAddr(place)
		return setValue(l.Statics, AddrKey{network, addr}, err, value)
	case endpointsKind:
		return setValue(l.Endpoints, rest, nil, value)
	case unusedKind:
		return setValue(l.Unused, rest, nil, value)
	case managedKind:
		return setValue(l.Managed, rest, nil, value)
	case allottedKind:
		addr, err := netip.ParseAddr(place)
		return setValue(l.Allotted, AddrKey{network, addr}, err, value)
	}
	return fmt.Errorf("unknown kind: written by a newer version of meshsec?")
}

func setValue[K comparable, V any](m map[K]V, key K, keyErr error, value json.RawMessage) error {
	if keyErr != nil {
		return keyErr
	}
	var v V
	if err := json.Unmarshal(value, &v); err != nil {
		return err
	}
	m[key] = v
	return nil
}
