package dns

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/meshsec/meshsec/directory"
	"github.com/meshsec/meshsec/link"
)

// maxAnswers bounds the records of one answer. What is left out is so at random.
const maxAnswers = 1000

// answers are the records of one reply. Those that would not fit are not even made: a name may have thousands of holders,
// and a datagram has room for a few.
type answers struct {
	list, extra []dns.RR
	room        int  // that is left, bytes
	cut         bool // there was not enough
}

// add takes a record with so many bytes of data at least, if there is room. All have the question's name.
func (a *answers) add(rr dns.RR, data int) bool {
	if len(a.list) == maxAnswers {
		return false
	}
	if a.room -= recordSize + data; a.room < 0 {
		a.cut = true
		return false
	}
	a.list = append(a.list, rr)
	return true
}

// records are those of the type that is asked for.
func (z Zone) records(q dns.Question, f *found, a *answers) {
	if f.port != "" && q.Qtype != dns.TypeSRV {
		return
	}
	switch q.Qtype {
	case dns.TypeA:
		z.addresses(q.Name, f, a)
	case dns.TypePTR:
		if f.pointer != "" {
			a.list = []dns.RR{&dns.PTR{Hdr: header(q.Name, dns.TypePTR), Ptr: f.pointer + "."}}
		}
	case dns.TypeSRV:
		z.services(q.Name, f, a)
	case dns.TypeTXT:
		z.texts(q.Name, f, a)
	case dns.TypeSOA:
		if f.zone {
			a.list = []dns.RR{z.soa(z.Domain)}
		}
	case dns.TypeNS:
		if f.zone {
			a.list = []dns.RR{&dns.NS{Hdr: header(q.Name, dns.TypeNS), Ns: "ns." + z.Domain + "."}}
		}
	}
}

func (z Zone) addresses(name string, f *found, a *answers) {
	if f.pointer != "" {
		return
	}
	add := func(addr netip.Addr) bool {
		return a.add(&dns.A{Hdr: header(name, dns.TypeA), A: net.IP(addr.AsSlice())}, net.IPv4len)
	}
	if f.server {
		add(link.ServiceAddr)
	}
	for _, h := range f.hosts {
		for _, addr := range h.Addrs {
			if addr.Is4() && !z.Names.Lost(h.ID) {
				add(addr)
			}
		}
	}
	for e := range some(f.endpoints) {
		if !add(e.Addr) {
			return
		}
	}
}

// some gives entries in random order, each of them first as often as the others. It orders the list as far as it gets.
func some(entries []*directory.Entry) iter.Seq[*directory.Entry] {
	return func(yield func(*directory.Entry) bool) {
		for i := range entries {
			j := i + rand.IntN(len(entries)-i)
			entries[i], entries[j] = entries[j], entries[i]
			if !yield(entries[i]) {
				return
			}
		}
	}
}

// SRVLabel begins the labels that name a port of a container: meshsec.srv.http=8080/tcp.
const SRVLabel = "meshsec.srv."

// services are the ports of the containers of a name: those that they expose or publish by number, those that a label
// names by that. All are the container's own ports, for that is what its mesh address has.
func (z Zone) services(name string, f *found, a *answers) {
	type service struct {
		target string
		port   uint16
	}
	given := map[service]bool{} // containers of one name, or a port with two names
	var holders []*directory.Entry
	for e := range some(f.endpoints) {
		target := ""
		for p := range ports(e) {
			if f.port != "" && (p.proto != f.proto || !p.called(f.port)) {
				continue
			}
			if target == "" {
				if target = z.full(e); target == "" {
					break
				}
				holders = append(holders, e)
			}
			if given[service{target, p.port}] {
				continue
			}
			given[service{target, p.port}] = true
			rr := &dns.SRV{Hdr: header(name, dns.TypeSRV), Priority: 0, Weight: 1, Port: p.port, Target: target + "."}
			if !a.add(rr, 6+len(target)+2) { // three numbers, and the name with its first length and its end
				return
			}
		}
	}
	for _, e := range holders { // the addresses of what the answer points to, as far as there is room
		if a.room -= aSize; a.room < 0 {
			return
		}
		a.extra = append(a.extra, &dns.A{Hdr: header(z.full(e)+".", dns.TypeA), A: net.IP(e.Addr.AsSlice())})
	}
}

type port struct {
	name, proto string
	port        uint16
}

// called tells whether a word is the port's name or its number.
func (p port) called(word string) bool {
	if p.name == word {
		return true
	}
	var digits [5]byte
	return string(strconv.AppendUint(digits[:0], uint64(p.port), 10)) == word
}

// ports are those of an endpoint, in no order.
func ports(e *directory.Entry) iter.Seq[port] {
	return func(yield func(port) bool) {
		for _, p := range e.Ports {
			if !yield(port{proto: p.Proto, port: p.Port}) {
				return
			}
		}
		for key, value := range e.Labels {
			name, ok := strings.CutPrefix(key, SRVLabel)
			if !ok || name == "" {
				continue
			}
			number, proto, _ := strings.Cut(value, "/")
			if proto == "" {
				proto = "tcp"
			}
			if n, err := strconv.ParseUint(number, 10, 16); err == nil && n > 0 && !yield(port{strings.ToLower(name), strings.ToLower(proto), uint16(n)}) {
				return
			}
		}
	}
}

// texts say what is known: of the facts how old they are, of hosts and containers where.
func (z Zone) texts(name string, f *found, a *answers) {
	add := func(words ...string) bool {
		data := 0
		for i, w := range words { // a string has 255 bytes at most (RFC 1035, section 3.3)
			words[i] = w[:min(len(w), 255)]
			data += 1 + len(words[i])
		}
		return a.add(&dns.TXT{Hdr: header(name, dns.TypeTXT), Txt: words}, data)
	}
	if f.age {
		add(fmt.Sprintf("age=%d", int(z.Age.Seconds())), fmt.Sprintf("revision=%d", z.Names.Revision()), fmt.Sprintf("etcd=%v", z.Etcd))
	}
	for _, h := range f.hosts {
		add("id="+h.ID, "version="+h.Version, fmt.Sprintf("lost=%v", z.Names.Lost(h.ID)))
	}
	if f.pointer != "" {
		return
	}
	for e := range some(f.endpoints) {
		words := []string{"container=" + e.Name, "network=" + e.Network, "address=" + e.Addr.String(), "host=" + z.Names.Snapshot().HostName(e.Host)}
		if e.Service != "" {
			words = append(words, "service="+e.Service)
		}
		if e.Project != "" {
			words = append(words, "project="+e.Project)
		}
		if !add(words...) {
			return
		}
	}
}
