package dns

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/meshsec/meshsec/directory"
)

// Explanation is an answer and where it comes from, for people.
type Explanation struct {
	Rcode   string   // NOERROR, NXDOMAIN; empty: the host's resolvers decide
	Records []string // as in a zone file
	Why     []string // sentences
}

// Explain tells what a container would be answered, and why. The host's resolvers are not asked.
func (s *Server) Explain(name, kind string, from *directory.Asker) (e Explanation, err error) {
	z := s.zone()
	qtype, ok := dns.StringToType[strings.ToUpper(kind)]
	if !ok {
		return e, fmt.Errorf("type %q: want one such as A, AAAA, PTR, SRV or TXT", kind)
	}
	if _, ok := dns.IsDomainName(name); !ok {
		return e, fmt.Errorf("name %q is none that DNS can carry", name)
	}
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	say := func(format string, args ...any) { e.Why = append(e.Why, fmt.Sprintf(format, args...)) }
	say("asked by container %s at %s, which is on: %s", orUnnamed(from.Name), from.Addr, strings.Join(from.Networks, ", "))
	plain := strings.TrimSuffix(strings.ToLower(name), ".")
	f, apex := z.find(plain, from)
	switch {
	case f == nil && !from.Outside:
		e.Rcode = dns.RcodeToString[dns.RcodeRefused]
		say("not a name that the asker's networks know, and all of these are internal (--internal): the host's resolvers are not asked")
		return e, nil
	case f == nil:
		var servers []string
		for _, r := range s.o.Resolvers() {
			servers = append(servers, r.Addr().String())
		}
		say("not a name that the asker's networks know: the host's resolvers are asked: %s", orNone(servers))
		for _, other := range z.elsewhere(plain, from) {
			say("%s", other)
		}
		return e, nil
	case f.why != "" && f.exists:
		say("%s, in zone %s", f.why, apex)
	case !f.exists:
		say("zone %s is this environment's, and has no such name", apex)
	}
	for _, entry := range f.endpoints {
		say("%s is container %s on host %s, network %s", entry.Addr, orUnnamed(entry.Name), z.Names.Snapshot().HostName(entry.Host), entry.Network)
	}
	for _, other := range z.elsewhere(plain, from) {
		say("%s", other)
	}
	r := z.Answer(q, from)
	e.Rcode = dns.RcodeToString[r.Rcode]
	for _, rr := range r.Answer {
		e.Records = append(e.Records, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	if len(r.Answer) == 0 && r.Rcode == dns.RcodeSuccess {
		say("there is no %s record of it", strings.ToUpper(kind))
	}
	return e, nil
}

// elsewhere tells of those that have the name but are not answered, which is for the host's operator only.
func (z Zone) elsewhere(name string, from *directory.Asker) (list []string) {
	if rest, ok := within(name, z.Domain); ok {
		name = rest
	}
	for network := range z.Names.Snapshot().Networks {
		rest := name
		if cut, ok := within(name, strings.ToLower(network)); ok {
			rest = cut
		}
		found, exists := z.Names.Find(rest, []string{network})
		if mine := slices.Contains(from.Networks, network); !mine && len(found) > 0 {
			list = append(list, fmt.Sprintf("network %s has %d of that name, but the asker is not on it", network, len(found)))
		} else if mine && exists && len(found) == 0 && z.Names.Named(rest, []string{network}) {
			list = append(list, fmt.Sprintf("all holders of the name on network %s are on hosts that are down", network))
		}
	}
	slices.Sort(list)
	return list
}

func orUnnamed(name string) string {
	if name == "" {
		return "without a name"
	}
	return name
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "there are none"
	}
	return strings.Join(list, ", ")
}
