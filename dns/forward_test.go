package dns

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// upstream is a resolver on loopback, by UDP and TCP.
func upstream(t testing.TB, handle dns.HandlerFunc) netip.AddrPort {
	t.Helper()
	pc := must(net.ListenPacket("udp4", "127.0.0.54:0"))(t)
	l := must(net.Listen("tcp4", pc.LocalAddr().String()))(t)
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: handle}, {Listener: l, Handler: handle}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { _ = s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return netip.MustParseAddrPort(pc.LocalAddr().String())
}

// tells is a resolver that answers with a code, and in case of success with records.
func tells(rcode int, records ...string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg).SetRcode(q, rcode)
		for _, text := range records {
			rr, err := dns.NewRR(text)
			if err != nil {
				panic(err)
			}
			if rr.Header().Rrtype == dns.TypeSOA {
				r.Ns = append(r.Ns, rr)
			} else {
				r.Answer = append(r.Answer, rr)
			}
		}
		_ = w.WriteMsg(r)
	}
}

func by(servers ...netip.AddrPort) Options {
	return Options{Resolvers: func() []netip.AddrPort { return servers }}
}

// TestComplaint02UpstreamsTTLs: an answer's TTLs, also a negative one's, are what the resolver said, each time.
func TestComplaint02UpstreamsTTLs(t *testing.T) {
	var ttl atomic.Uint32
	up := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		n := ttl.Add(1)
		if strings.HasPrefix(q.Question[0].Name, "none") {
			r := new(dns.Msg).SetRcode(q, dns.RcodeNameError)
			r.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "test.", Rrtype: dns.TypeSOA, Class: 1, Ttl: n}, Ns: "a.", Mbox: "b.", Minttl: n}}
			_ = w.WriteMsg(r)
			return
		}
		r := new(dns.Msg).SetReply(q)
		r.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: 1, Ttl: n}, A: net.IPv4(192, 0, 2, 7)}}
		_ = w.WriteMsg(r)
	})
	_, at := served(t, by(up))
	for want := uint32(1); want < 4; want++ {
		if r := exchange(t, "udp", at, me, question("www.example.test", dns.TypeA)); len(r.Answer) != 1 || r.Answer[0].Header().Ttl != want || r.Authoritative {
			t.Errorf("TTL %d: %v", want, r)
		}
	}
	r := exchange(t, "udp", at, me, question("none.test", dns.TypeA))
	if r.Rcode != dns.RcodeNameError || len(r.Ns) != 1 || r.Ns[0].(*dns.SOA).Minttl != 4 {
		t.Errorf("%v", r)
	}
}

// TestComplaint03ServfailIsNotKept: the next question after a failure is asked anew.
func TestComplaint03ServfailIsNotKept(t *testing.T) {
	var asked atomic.Int32
	up := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if asked.Add(1) == 1 {
			tells(dns.RcodeServerFailure)(w, q)
			return
		}
		tells(dns.RcodeSuccess, "www.test. 9 A 192.0.2.7")(w, q)
	})
	_, at := served(t, by(up))
	for _, want := range []string{"SERVFAIL", "192.0.2.7"} {
		if got := says(exchange(t, "udp", at, me, question("www.test", dns.TypeA))); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestComplaint04NobodyGetsAnothersAnswer: who asks decides, whoever asked the same before.
func TestComplaint04NobodyGetsAnothersAnswer(t *testing.T) {
	up := upstream(t, tells(dns.RcodeSuccess, "web. 9 A 192.0.2.7"))
	_, at := served(t, by(up))
	for range 3 {
		if got := says(exchange(t, "udp", at, me, question("web", dns.TypeA))); got != "10.42.64.2, 10.42.64.3" {
			t.Error(got)
		}
		if got := says(exchange(t, "udp", at, other, question("web", dns.TypeA))); got != "192.0.2.7" {
			t.Error(got)
		}
	}
}

func TestTheFirstGoodAnswerCounts(t *testing.T) {
	mute := must(net.ListenPacket("udp4", "127.0.0.54:0"))(t)
	defer mute.Close()
	silent := netip.MustParseAddrPort(mute.LocalAddr().String())
	good := upstream(t, tells(dns.RcodeSuccess, "www.test. 9 A 192.0.2.7"))
	none := upstream(t, tells(dns.RcodeNameError, "test. 9 SOA a. b. 1 2 3 4 5"))
	refuses := upstream(t, tells(dns.RcodeRefused))
	fails := upstream(t, tells(dns.RcodeServerFailure))
	liar := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) { // answers something else
		r := new(dns.Msg).SetReply(q)
		r.Question[0].Name = "other.test."
		_ = w.WriteMsg(r)
	})
	for want, servers := range map[string][]netip.AddrPort{
		"192.0.2.7":  {silent, good},
		"NXDOMAIN":   {fails, none},
		"192.0.2.7 ": {refuses, fails, good},
		"REFUSED":    {refuses},
		"SERVFAIL":   {liar},
		"SERVFAIL ":  {},
	} {
		_, at := served(t, by(servers...))
		if got := says(exchange(t, "udp", at, me, question("www.test", dns.TypeA))); got != strings.TrimSpace(want) {
			t.Errorf("%v: %s, want %s", servers, got, want)
		}
	}
}

// TestLongAnswersOfResolvers: what a resolver cuts is asked for by TCP, and given as the asker can take it.
func TestLongAnswersOfResolvers(t *testing.T) {
	var records []string
	for range 100 {
		records = append(records, "long.test. 9 TXT "+strings.Repeat("x", 40))
	}
	up := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			r := new(dns.Msg).SetReply(q)
			r.Truncated = true
			_ = w.WriteMsg(r)
			return
		}
		tells(dns.RcodeSuccess, records...)(w, q)
	})
	_, at := served(t, by(up))
	if r := exchange(t, "udp", at, me, question("long.test", dns.TypeTXT)); !r.Truncated {
		t.Error("not marked as cut")
	}
	if r := exchange(t, "tcp", at, me, question("long.test", dns.TypeTXT)); r.Truncated || len(r.Answer) != 100 {
		t.Errorf("%d records, truncated %v", len(r.Answer), r.Truncated)
	}
}

func TestResolversWithoutEDNS(t *testing.T) {
	up := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.IsEdns0() != nil {
			tells(dns.RcodeFormatError)(w, q)
			return
		}
		tells(dns.RcodeSuccess, "www.test. 9 A 192.0.2.7")(w, q)
	})
	_, at := served(t, by(up))
	r := exchange(t, "udp", at, me, question("www.test", dns.TypeA).SetEdns0(1232, true))
	if says(r) != "192.0.2.7" || r.IsEdns0() == nil || !r.IsEdns0().Do() {
		t.Errorf("%v", r)
	}
}

// TestLoopsAreRefused: a resolver that asks us again is told no at once; so are all that wait behind it.
func TestLoopsAreRefused(t *testing.T) {
	var us atomic.Pointer[string]
	up := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		c := dns.Client{Dialer: &net.Dialer{LocalAddr: &net.UDPAddr{IP: other.AsSlice()}}} // a resolver in a container
		r, _, err := c.Exchange(q, *us.Load())
		if err == nil {
			r.Id = q.Id
			_ = w.WriteMsg(r)
		}
	})
	s, at := served(t, by(up))
	us.Store(&at)
	if got := says(exchange(t, "udp", at, me, question("www.test", dns.TypeA))); got != "REFUSED" {
		t.Error(got)
	}
	if got := s.Stats(); got.Drops["loop"] != 1 || got.Forwarded != 1 {
		t.Errorf("%+v", got)
	}
}

func TestResolversAreRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	empty := write("empty", "search test\n")
	some := write("some", "# nameserver 1.1.1.1\nnameserver 192.0.2.1\nnameserver 169.254.169.250\n nameserver\t2001:db8::1 x\nnameserver nonsense\nnameserver 192.0.2.1\nnameserver ::ffff:192.0.2.1\nnameserver ::ffff:169.254.169.250\nnameserver\n")
	dangling := filepath.Join(dir, "dangling")
	if err := os.Symlink("/nowhere/else", dangling); err != nil {
		t.Fatal(err)
	}
	want := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("[2001:db8::1]:53")}
	if got := Resolvers(dangling, empty, some)(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := Resolvers(dangling)(); len(got) != 0 {
		t.Errorf("%v", got)
	}
}
