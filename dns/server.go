package dns

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/directory"
	"github.com/meshsec/meshsec/quota"
)

// Rate is how many questions a second one container may put, unless Options say otherwise. Twice as many at once.
const Rate = 5000

// Options of a Server.
type Options struct {
	Domain string // of the environment's names, lower case, without a dot at the end
	Board  *directory.Board
	// Age tells how long ago etcd was reached, and whether it is now.
	Age func() (age time.Duration, reached bool)
	// Resolvers are the host's, the best first. They are asked for each question anew.
	Resolvers func() []netip.AddrPort
	// Rate is how many questions a second one container may put; 0: the constant Rate. Twice as many at once. A long answer
	// counts as several.
	Rate int
}

// Server answers on one address. Methods may be called concurrently.
type Server struct {
	o       Options
	forward *forwarder
	limit   *quota.Rates
	counts  counts
}

// New returns a Server that answers once Serve is called.
func New(o Options) *Server {
	if o.Rate == 0 {
		o.Rate = Rate
	}
	return &Server{o: o, forward: newForwarder(o.Resolvers), limit: quota.NewRates(o.Rate)}
}

// Serve answers on both sockets until ctx ends, and closes them. The address of udp must be one only, for it is what the
// answers come from.
func (s *Server) Serve(ctx context.Context, udp *net.UDPConn, tcp net.Listener) error {
	tcp = quota.NewPlaces(maxConns, maxConnsOf).Listener(tcp, func() { s.counts.drop(dropRate) })
	group, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() {
		_ = udp.Close()
		_ = tcp.Close()
	})
	defer stop()
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error { return s.serveUDP(ctx, udp) })
	}
	group.Go(func() error { return s.serveTCP(ctx, tcp) })
	err := group.Wait()
	if ctx.Err() != nil && context.Cause(ctx) == context.Canceled {
		return nil
	}
	return err
}

// zone is what is known now.
func (s *Server) zone() Zone {
	names, _ := s.o.Board.Now()
	z := Zone{Domain: s.o.Domain, Names: names}
	z.Age, z.Etcd = s.o.Age()
	return z
}

// ask is a question on its way.
type ask struct {
	raw  []byte
	from netip.Addr
	size int // of the transport (bytes)
}

// answer gives the reply in wire format, in room if it fits; nil: none. A question for the host's resolvers gives later
// instead, which waits for them and may be called in a goroutine of its own.
func (s *Server) answer(z Zone, a ask, room []byte) (out []byte, later func(ctx context.Context) []byte) {
	from := z.Names.Asker(a.from)
	if from != nil && len(room) >= ownSize {
		if out := z.quick(a.raw, from, room); out != nil {
			s.counts.reply(dns.RcodeSuccess)
			return out, nil
		}
	}
	q := new(dns.Msg)
	if err := q.Unpack(a.raw); err != nil {
		r := malformed(a.raw)
		if r == nil {
			s.counts.drop(dropMalformed)
			return nil, nil
		}
		return s.pack(r, room), nil
	}
	no, ok := Check(q)
	switch {
	case !ok:
		s.counts.drop(dropResponse)
		return nil, nil
	case no == nil && from == nil: // nobody that the source guard vouches for
		no = reply(q)
		no.Rcode = dns.RcodeRefused
	case no == nil && s.forward.looped(q):
		s.counts.drop(dropLoop)
		no = reply(q)
		no.Rcode = dns.RcodeRefused
	}
	holders := 0
	if no == nil {
		no, holders = z.answer(q, from, takes(q, a.size))
	}
	if no == nil && !from.Outside { // a question is a way out, too
		s.counts.drop(dropInternal)
		no = reply(q)
		no.Rcode = dns.RcodeRefused
	}
	if no != nil {
		finish(q, no, a.size)
		return s.charge(a.from, s.pack(no, room), holders), nil
	}
	if !s.forward.places.Enter(a.from) {
		s.counts.drop(dropBusy)
		r := reply(q)
		r.Rcode = dns.RcodeServerFailure
		finish(q, r, a.size)
		return s.pack(r, room), nil
	}
	return nil, func(ctx context.Context) []byte {
		defer s.forward.places.Leave(a.from)
		r := s.forward.ask(ctx, q)
		s.counts.forwarded.Add(1)
		finish(q, r, a.size)
		return s.charge(a.from, s.pack(r, nil), 0)
	}
}

// What one question's worth of the rate pays for: so many bytes of the answer, and so many holders of the name.
const (
	bytesEach   = 512
	holdersEach = 64
)

// charge takes from a container's rate what an answer costs beyond the one question that it has paid with.
func (s *Server) charge(from netip.Addr, out []byte, holders int) []byte {
	if more := max((len(out)-1)/bytesEach, holders/holdersEach); more > 0 {
		s.limit.Charge(from, more)
	}
	return out
}

// pack writes a reply and counts it.
func (s *Server) pack(r *dns.Msg, room []byte) []byte {
	out, err := r.PackBuffer(room)
	if err != nil {
		s.counts.drop(dropUnpackable)
		return nil
	}
	s.counts.reply(r.Rcode)
	return out
}
