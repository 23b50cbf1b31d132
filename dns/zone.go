package dns

import (
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/meshsec/meshsec/directory"
)

// TTL is how long an answer about the environment may be kept (seconds). A name that is not there, too.
const TTL = 5

// Zone is what the environment's names are at one moment. It is a value; Answer changes nothing.
type Zone struct {
	Domain string // without a dot at the end, lower case: meshsec.internal
	Names  *directory.Directory
	Age    time.Duration // of the facts: how long ago etcd was reached
	Etcd   bool          // it is reached now
}

// Answer is what a container is told. A nil message says that the question is not about the environment: it is for
// the host's resolvers. The question must be one that Check lets pass.
func (z Zone) Answer(q *dns.Msg, from *directory.Asker) *dns.Msg {
	reply, _ := z.answer(q, from, streamSize)
	return reply
}

// answer is Answer with no more records than size has room for (bytes of the whole message, and as many as the asker takes),
// marked as cut if that leaves any out. holders is how many had to be looked at for it.
func (z Zone) answer(q *dns.Msg, from *directory.Asker, size int) (r *dns.Msg, holders int) {
	question := q.Question[0]
	name := strings.TrimSuffix(strings.ToLower(question.Name), ".")
	reply := reply(q)
	reply.Authoritative = true
	found, apex := z.find(name, from)
	if found == nil {
		return nil, 0
	}
	a := answers{room: size - reply.Len()}
	if q.IsEdns0() != nil {
		a.room -= optSize
	}
	z.records(question, found, &a)
	reply.Answer, reply.Extra, reply.Truncated = a.list, a.extra, a.cut
	switch {
	case question.Qtype == dns.TypeANY && found.exists: // RFC 8482
		reply.Answer = []dns.RR{&dns.HINFO{Hdr: header(question.Name, dns.TypeHINFO), Cpu: "RFC8482"}}
	case !found.exists:
		reply.Rcode = dns.RcodeNameError
	}
	if len(reply.Answer) == 0 && !a.cut {
		reply.Ns = []dns.RR{z.soa(apex)}
	}
	return reply, len(found.endpoints)
}

// reply begins an answer: the question as it was put, recursion as it was asked for.
func reply(q *dns.Msg) *dns.Msg {
	r := &dns.Msg{MsgHdr: dns.MsgHdr{Id: q.Id, Response: true, Opcode: q.Opcode, RecursionDesired: q.RecursionDesired, RecursionAvailable: true}}
	if len(q.Question) > 0 {
		r.Question = q.Question[:1]
	}
	return r
}

func header(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: TTL}
}

// soa is the start of authority of a zone: of the domain, of a reverse zone, or of a bare name, which is a zone of its own.
// Its minimum bounds how long the lack of a name is kept (RFC 2308, section 5).
func (z Zone) soa(apex string) dns.RR {
	return &dns.SOA{Hdr: header(dns.Fqdn(apex), dns.TypeSOA), Ns: "ns." + z.Domain + ".", Mbox: "hostmaster." + z.Domain + ".",
		Serial: uint32(z.Names.Revision()), Refresh: 60, Retry: 60, Expire: 86400, Minttl: TTL}
}
