package dns

import (
	"context"
	"crypto/rand"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/meshsec/meshsec/quota"
)

// How the host's resolvers are asked.
const (
	together    = 2                       // at a time; the first good answer counts
	pairWithin  = 1900 * time.Millisecond // then the next ones: Docker's own resolver gives up after 4 s
	maxServers  = 4
	maxWaiting  = 4096 // questions that wait for answers
	maxWaitOf   = 256  // of one container
	loopOption  = dns.EDNS0LOCALSTART + 413
	loopKeySize = 12
)

// forwarder asks the host's resolvers. It may be used concurrently.
type forwarder struct {
	servers func() []netip.AddrPort
	key     [loopKeySize]byte // marks questions of this host, to know them when they come back
	places  *quota.Places
}

func newForwarder(servers func() []netip.AddrPort) *forwarder {
	f := &forwarder{servers: servers, places: quota.NewPlaces(maxWaiting, maxWaitOf)}
	_, _ = rand.Read(f.key[:]) // never fails (crypto/rand)
	return f
}

// looped tells whether a question is one that this host has asked: one of its resolvers asks a container, and that one us.
func (f *forwarder) looped(q *dns.Msg) bool {
	opt := q.IsEdns0()
	return opt != nil && slices.ContainsFunc(opt.Option, func(o dns.EDNS0) bool {
		local, ok := o.(*dns.EDNS0_LOCAL)
		return ok && local.Code == loopOption && string(local.Data) == string(f.key[:])
	})
}

// ask gives the first good answer: there is such a name or there is none. Without one it gives another answer that came,
// or SERVFAIL.
func (f *forwarder) ask(ctx context.Context, q *dns.Msg) *dns.Msg {
	servers := f.servers()
	servers = servers[:min(len(servers), maxServers)]
	var other *dns.Msg
	for len(servers) > 0 {
		n := min(together, len(servers))
		r := f.askAll(ctx, q, servers[:n])
		if good(r) {
			return f.pass(q, r)
		}
		if r != nil {
			other = r
		}
		servers = servers[n:]
	}
	if other != nil {
		return f.pass(q, other)
	}
	r := reply(q)
	r.Rcode = dns.RcodeServerFailure
	return r
}

func good(r *dns.Msg) bool {
	return r != nil && (r.Rcode == dns.RcodeSuccess || r.Rcode == dns.RcodeNameError)
}

// askAll asks some at once: the first good answer, else the last of the others, nil if none came.
func (f *forwarder) askAll(ctx context.Context, q *dns.Msg, servers []netip.AddrPort) (last *dns.Msg) {
	ctx, cancel := context.WithTimeout(ctx, pairWithin)
	defer cancel()
	answers := make(chan *dns.Msg, len(servers))
	for _, s := range servers {
		go func() { answers <- f.exchange(ctx, q, s.String()) }()
	}
	for range servers {
		r := <-answers
		if good(r) {
			return r
		}
		if r != nil {
			last = r
		}
	}
	return last
}

// exchange asks one: by TCP what does not fit into a datagram, without EDNS who does not know that (RFC 6891, section 6.2.2).
func (f *forwarder) exchange(ctx context.Context, q *dns.Msg, server string) *dns.Msg {
	plain := false
	for _, network := range []string{"udp", "tcp"} {
		r := f.once(ctx, f.question(q, plain), network, server)
		if r != nil && !plain && (r.Rcode == dns.RcodeFormatError || r.Rcode == dns.RcodeNotImplemented || r.Rcode == dns.RcodeBadVers) {
			plain = true
			r = f.once(ctx, f.question(q, plain), network, server)
		}
		if r == nil || !r.Truncated || network == "tcp" {
			return r
		}
	}
	return nil
}

// once is one question and its answer; nil if there is none, or one to something else.
func (f *forwarder) once(ctx context.Context, q *dns.Msg, network, server string) *dns.Msg {
	c := dns.Client{Net: network, UDPSize: ownSize, Timeout: pairWithin}
	r, _, err := c.ExchangeContext(ctx, q, server)
	if err != nil || r == nil || !r.Response || len(r.Question) > 1 {
		return nil
	}
	if len(r.Question) == 1 && (r.Question[0].Qtype != q.Question[0].Qtype || r.Question[0].Qclass != q.Question[0].Qclass ||
		!strings.EqualFold(r.Question[0].Name, q.Question[0].Name)) {
		return nil
	}
	return r
}

// question is what a resolver is asked: nothing of the asker's message but what it asks for.
func (f *forwarder) question(q *dns.Msg, plain bool) *dns.Msg {
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Id: dns.Id(), RecursionDesired: q.RecursionDesired, CheckingDisabled: q.CheckingDisabled,
		AuthenticatedData: q.AuthenticatedData}, Question: q.Question}
	if !plain {
		opt := q.IsEdns0()
		m.SetEdns0(ownSize, opt != nil && opt.Do())
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: loopOption, Data: f.key[:]}}
	}
	return m
}

// pass gives a resolver's answer to who asked, as it is.
func (f *forwarder) pass(q, r *dns.Msg) *dns.Msg {
	r.Id, r.Question, r.Opcode, r.RecursionAvailable = q.Id, q.Question, q.Opcode, true
	r.Truncated = false
	if r.Rcode > 15 { // bits of an OPT record that is not passed on
		r.Rcode = dns.RcodeServerFailure
	}
	return r
}
