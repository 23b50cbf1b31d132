package dns

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/meshsec/meshsec/directory"
	"github.com/meshsec/meshsec/link"
)

// maxAnswers bounds the records of one answer. What is left out is so at random.
const maxAnswers = 1000

// records are those of the type that is asked for.
func (z Zone) records(q dns.Question, f *found) []dns.RR {
	if f.port != "" && q.Qtype != dns.TypeSRV {
		return nil
	}
	switch q.Qtype {
	case dns.TypeA:
		return z.addresses(q.Name, f)
	case dns.TypePTR:
		if f.pointer != "" {
			return []dns.RR{&dns.PTR{Hdr: header(q.Name, dns.TypePTR), Ptr: f.pointer + "."}}
		}
	case dns.TypeSRV:
		return z.services(q.Name, f)
	case dns.TypeTXT:
		return z.texts(q.Name, f)
	case dns.TypeSOA:
		if f.zone {
			return []dns.RR{z.soa(z.Domain)}
		}
	case dns.TypeNS:
		if f.zone {
			return []dns.RR{&dns.NS{Hdr: header(q.Name, dns.TypeNS), Ns: "ns." + z.Domain + "."}}
		}
	}
	return nil
}

func (z Zone) addresses(name string, f *found) []dns.RR {
	if f.pointer != "" {
		return nil
	}
	var list []dns.RR
	add := func(addr netip.Addr) {
		list = append(list, &dns.A{Hdr: header(name, dns.TypeA), A: net.IP(addr.AsSlice())})
	}
	if f.server {
		add(link.ServiceAddr)
	}
	for _, h := range f.hosts {
		for _, a := range h.Addrs {
			if a.Is4() && !z.Names.Lost(h.ID) {
				add(a)
			}
		}
	}
	for _, e := range z.some(f.endpoints) {
		add(e.Addr)
	}
	return list
}

// some gives entries in random order, at most maxAnswers.
func (z Zone) some(entries []*directory.Entry) []*directory.Entry {
	if len(entries) > 1 {
		entries = slices.Clone(entries)
		z.shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	}
	return entries[:min(len(entries), maxAnswers)]
}

// SRVLabel begins the labels that name a port of a container: meshsec.srv.http=8080/tcp.
const SRVLabel = "meshsec.srv."

// services are the ports of the containers of a name: those that they expose or publish by number, those that a label
// names by that. All are the container's own ports, for that is what its mesh address has.
func (z Zone) services(name string, f *found) []dns.RR {
	var list []dns.RR
	for _, e := range z.some(f.endpoints) {
		target := z.full(e)
		for _, p := range ports(e) {
			if target != "" && (f.port == "" || p.proto == f.proto && (p.name == f.port || strconv.Itoa(int(p.port)) == f.port)) {
				rr := &dns.SRV{Hdr: header(name, dns.TypeSRV), Priority: 0, Weight: 1, Port: p.port, Target: target + "."}
				if !slices.ContainsFunc(list, func(o dns.RR) bool { return o.(*dns.SRV).Port == rr.Port && o.(*dns.SRV).Target == rr.Target }) {
					list = append(list, rr)
				}
			}
		}
		if len(list) >= maxAnswers {
			break
		}
	}
	return list
}

type port struct {
	name, proto string
	port        uint16
}

// ports are those of an endpoint, sorted.
func ports(e *directory.Entry) []port {
	var list []port
	for _, p := range e.Ports {
		list = append(list, port{proto: p.Proto, port: p.Port})
	}
	for key, value := range e.Labels {
		if name, ok := strings.CutPrefix(key, SRVLabel); ok && name != "" {
			number, proto, _ := strings.Cut(value, "/")
			if proto == "" {
				proto = "tcp"
			}
			if n, err := strconv.ParseUint(number, 10, 16); err == nil && n > 0 {
				list = append(list, port{strings.ToLower(name), strings.ToLower(proto), uint16(n)})
			}
		}
	}
	slices.SortFunc(list, func(a, b port) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return list
}

// targets are the addresses of what an SRV answer points to.
func (z Zone) targets(f *found) []dns.RR {
	var list []dns.RR
	for _, e := range f.endpoints[:min(len(f.endpoints), maxAnswers)] {
		if name := z.full(e); name != "" {
			list = append(list, &dns.A{Hdr: header(name+".", dns.TypeA), A: net.IP(e.Addr.AsSlice())})
		}
	}
	return list
}

// texts say what is known: of the facts how old they are, of hosts and containers where.
func (z Zone) texts(name string, f *found) []dns.RR {
	var list []dns.RR
	add := func(words ...string) {
		for i, w := range words { // a string has 255 bytes at most (RFC 1035, section 3.3)
			words[i] = w[:min(len(w), 255)]
		}
		list = append(list, &dns.TXT{Hdr: header(name, dns.TypeTXT), Txt: words})
	}
	if f.age {
		add(fmt.Sprintf("age=%d", int(z.Age.Seconds())), fmt.Sprintf("revision=%d", z.Names.Revision()), fmt.Sprintf("etcd=%v", z.Etcd))
	}
	for _, h := range f.hosts {
		add("id="+h.ID, "version="+h.Version, fmt.Sprintf("lost=%v", z.Names.Lost(h.ID)))
	}
	if f.pointer != "" {
		return list
	}
	for _, e := range z.some(f.endpoints) {
		words := []string{"container=" + e.Name, "network=" + e.Network, "address=" + e.Addr.String(), "host=" + z.Names.Snapshot().HostName(e.Host)}
		if e.Service != "" {
			words = append(words, "service="+e.Service)
		}
		if e.Project != "" {
			words = append(words, "project="+e.Project)
		}
		add(words...)
	}
	return list
}
