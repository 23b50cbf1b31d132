package dns

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/meshsec/meshsec/directory"
	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

// found is what a name stands for.
type found struct {
	exists    bool
	endpoints []*directory.Entry
	hosts     []store.Host
	pointer   string // of a reverse name: what it points to
	port      string // SRV: the service or port that is asked for; empty: all
	proto     string
	zone      bool // the domain itself
	server    bool // this server
	age       bool
	why       string // in words, for people
}

// find looks a name up; nil: it is none of the environment's. apex is the zone that it is in.
func (z Zone) find(name string, from *directory.Asker) (f *found, apex string) {
	if rest, ok := within(name, z.Domain); ok {
		return z.inDomain(rest, from), z.Domain
	}
	if addr, ok := reverse(name); ok {
		return z.inReverse(name, addr, from)
	}
	f = &found{}
	rest := f.service(name)
	f.endpoints, f.exists = z.Names.Find(rest, from.Networks)
	if len(f.endpoints) == 0 && !z.Names.Named(rest, from.Networks) {
		return nil, "" // a name that only has ours below it is the world's
	}
	f.why = "a name of the asker's networks"
	return f, name
}

// inDomain looks up what stands before the domain.
func (z Zone) inDomain(rest string, from *directory.Asker) *found {
	f := &found{exists: true, why: "in the domain " + z.Domain}
	switch rest {
	case "":
		f.zone = true
		return f
	case "ns":
		f.server = true
		return f
	case "_age":
		f.age = true
		return f
	case "host":
		return f
	}
	if name, ok := strings.CutSuffix(rest, ".host"); ok {
		if f.hosts = z.Names.Hosts(name); len(f.hosts) > 0 {
			f.why = "a host"
			return f
		}
	}
	rest = f.service(rest)
	for _, network := range from.Networks {
		name, ok := within(rest, strings.ToLower(network))
		switch {
		case !ok:
			continue
		case name == "":
			return f // the network: there are names below it
		}
		if f.endpoints, f.exists = z.Names.Find(name, []string{network}); f.exists {
			f.why = "a name of network " + network
			return f
		}
	}
	f.endpoints, f.exists = z.Names.Find(rest, from.Networks)
	if f.exists {
		f.why = "a name of the asker's networks"
	}
	return f
}

// service takes _http._tcp. off the beginning of a name (RFC 2782).
func (f *found) service(name string) (rest string) {
	first, rest, ok := strings.Cut(name, ".")
	if !ok || !strings.HasPrefix(first, "_") {
		return name
	}
	second, rest, ok := strings.Cut(rest, ".")
	if !ok || second != "_tcp" && second != "_udp" && second != "_sctp" {
		return name
	}
	f.port, f.proto = first[1:], second[1:]
	return rest
}

// inReverse looks up an address. Those of the environment's pools are nobody else's to answer; f is nil for all others.
func (z Zone) inReverse(name string, addr netip.Addr, from *directory.Asker) (f *found, apex string) {
	if addr == link.ServiceAddr {
		return &found{exists: true, pointer: "ns." + z.Domain, why: "this server"}, name
	}
	pool, ok := z.Names.Pool(addr)
	if !ok {
		return nil, ""
	}
	f, apex = &found{why: "an address of the environment"}, zoneOf(pool)
	if e := z.Names.At(addr, from.Networks); e != nil && !z.Names.Lost(e.Host) {
		if names := directory.Names(*e.Endpoint); len(names) > 0 {
			f.exists, f.endpoints = true, []*directory.Entry{e}
			f.pointer = z.full(e)
		}
	}
	return f, apex
}

// full is an endpoint's whole name: of its container, else the first that it has.
func (z Zone) full(e *directory.Entry) string {
	name := strings.ToLower(e.Name)
	names := directory.Names(*e.Endpoint)
	if len(names) == 0 {
		return ""
	}
	if !slices.Contains(names, name) {
		name = names[0]
	}
	return name + "." + strings.ToLower(e.Network) + "." + z.Domain
}

// within cuts a parent off a name; the parent itself is empty.
func within(name, parent string) (rest string, ok bool) {
	if name == parent {
		return "", true
	}
	if n := len(name) - len(parent) - 1; n > 0 && name[n] == '.' && name[n+1:] == parent {
		return name[:n], true
	}
	return "", false
}

const arpa = ".in-addr.arpa"

// reverse reads a name such as 9.71.42.10.in-addr.arpa (RFC 1035, section 3.5).
func reverse(name string) (addr netip.Addr, ok bool) {
	digits, ok := strings.CutSuffix(name, arpa)
	if !ok {
		return addr, false
	}
	parts := strings.Split(digits, ".")
	if len(parts) != 4 {
		return addr, false
	}
	var b [4]byte
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 8)
		if err != nil || strconv.FormatUint(n, 10) != p {
			return addr, false
		}
		b[3-i] = byte(n)
	}
	return netip.AddrFrom4(b), true
}

// zoneOf is the smallest reverse zone that holds a pool.
func zoneOf(pool netip.Prefix) string {
	b, name := pool.Addr().As4(), ""
	for i := range pool.Bits() / 8 {
		name = strconv.Itoa(int(b[i])) + "." + name
	}
	return name + arpa[1:]
}
