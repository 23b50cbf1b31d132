package dns

import (
	"github.com/miekg/dns"
)

// ownSize is the longest datagram that is taken and sent (bytes): it needs no fragment on any path of the mesh (RFC 9715).
const ownSize = 1232

// Check says what is wrong with a question: nil for one that can be answered, and for one that must not be answered at all
// ok is false. Otherwise the reply says no (RFC 1035, section 4.1.1; RFC 6891).
func Check(q *dns.Msg) (no *dns.Msg, ok bool) {
	if q.Response { // answering an answer may go on for ever
		return nil, false
	}
	refuse := func(rcode int) (*dns.Msg, bool) {
		r := reply(q)
		r.Rcode = rcode
		return r, true
	}
	switch {
	case q.Opcode != dns.OpcodeQuery:
		return refuse(dns.RcodeNotImplemented)
	case len(q.Question) != 1:
		return refuse(dns.RcodeFormatError)
	case len(q.Answer) > 0 || len(q.Ns) > 0 || options(q) > 1:
		return refuse(dns.RcodeFormatError)
	}
	if opt := q.IsEdns0(); opt != nil && opt.Version() != 0 {
		return refuse(dns.RcodeBadVers)
	}
	switch q.Question[0].Qtype {
	case dns.TypeAXFR, dns.TypeIXFR, dns.TypeMAILA, dns.TypeMAILB, dns.TypeTSIG, dns.TypeTKEY, dns.TypeOPT:
		return refuse(dns.RcodeRefused)
	}
	if q.Question[0].Qclass != dns.ClassINET {
		return refuse(dns.RcodeRefused)
	}
	return nil, true
}

// options counts the OPT records: more than one is malformed (RFC 6891, section 6.1.1).
func options(q *dns.Msg) (n int) {
	for _, rr := range q.Extra {
		if rr.Header().Rrtype == dns.TypeOPT {
			n++
		}
	}
	return n
}

// malformed answers a message that can't be read, by its header alone; nil if there is not even that, or if it is an answer.
func malformed(b []byte) *dns.Msg {
	const responseBit = 0x80
	if len(b) < headerSize || b[2]&responseBit != 0 {
		return nil
	}
	r := &dns.Msg{MsgHdr: dns.MsgHdr{Id: uint16(b[0])<<8 | uint16(b[1]), Response: true, Opcode: int(b[2] >> 3 & 15), Rcode: dns.RcodeFormatError}}
	return r
}

// takes is how long a reply the asker can take (bytes) where the transport takes size.
func takes(q *dns.Msg, size int) int {
	opt := q.IsEdns0()
	switch {
	case size > ownSize: // a stream
		return size
	case opt == nil:
		return min(size, dns.MinMsgSize)
	}
	return min(size, max(int(opt.UDPSize()), dns.MinMsgSize))
}

// finish gives the reply its EDNS part if the question had one, and cuts it to what the asker can take: size is the
// transport's limit (bytes).
func finish(q, r *dns.Msg, size int) {
	opt := q.IsEdns0()
	size = takes(q, size)
	r.Extra = withoutOptions(r.Extra)
	if opt != nil {
		r.SetEdns0(ownSize, opt.Do())
		if r.Rcode > 15 { // its upper bits are in there (RFC 6891, section 6.1.3)
			r.IsEdns0().SetExtendedRcode(uint16(r.Rcode))
		}
	}
	if r.Compress = false; r.Len() > size { // the search for what can be left out takes longer than all else
		r.Truncate(size)
		r.Compress = true
	}
}

func withoutOptions(extra []dns.RR) []dns.RR {
	for i, rr := range extra {
		if rr.Header().Rrtype == dns.TypeOPT {
			return append(extra[:i:i], withoutOptions(extra[i+1:])...)
		}
	}
	return extra
}
