package dns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/meshsec/meshsec/directory"
	"github.com/meshsec/meshsec/link"
)

// FuzzAnswer: whatever comes, nothing breaks; what goes out can be read, answers what was asked, is not longer than the asker
// takes, and to a sender who may be another not more than three times as long as what came.
func FuzzAnswer(f *testing.F) {
	for _, name := range []string{"web", "_http._tcp.web", "none.meshsec.internal", "2.64.42.10.in-addr.arpa", "example.test", "_age.meshsec.internal", "."} {
		for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypePTR, dns.TypeTXT, dns.TypeANY, dns.TypeAXFR} {
			q := question(name, kind)
			f.Add(must(q.Pack())(f), true)
			f.Add(must(q.SetEdns0(4096, true).Pack())(f), false)
		}
	}
	f.Add([]byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12}, true) // a name that points to itself
	s := New(Options{Domain: "meshsec.internal", Board: directory.NewBoard(environment()), Age: func() (time.Duration, bool) { return 0, true },
		Resolvers: func() []netip.AddrPort { return nil }})
	stranger := netip.MustParseAddr("127.0.0.9")
	f.Fuzz(func(t *testing.T, raw []byte, known bool) {
		from := stranger
		if known {
			from = me
		}
		for _, size := range []int{ownSize, streamSize} {
			out, later := s.answer(s.zone(), ask{raw, from, size}, make([]byte, ownSize))
			if later != nil {
				if !known {
					t.Fatal("a stranger's question is passed on")
				}
				out = later(context.Background())
			}
			if out == nil {
				continue
			}
			var q, r dns.Msg
			if err := r.Unpack(out); err != nil {
				t.Fatalf("answer %x: %v", out, err)
			}
			if !r.Response || len(out) > size {
				t.Fatalf("%d bytes: %v", len(out), r.MsgHdr)
			}
			if !known && len(out) > amplification*len(raw) {
				t.Fatalf("%d bytes for %d", len(out), len(raw))
			}
			if q.Unpack(raw) == nil && (q.Id != r.Id || len(r.Question) == 1 && r.Question[0] != q.Question[0]) {
				t.Fatalf("%v answered by %v", q.Question, r.Question)
			}
		}
	})
}

// FuzzPass: whatever a resolver says, what goes on to the container can be read and fits.
func FuzzPass(f *testing.F) {
	r := new(dns.Msg).SetReply(question("www.test", dns.TypeA)).SetEdns0(1232, true)
	f.Add(must(r.Pack())(f))
	r.Rcode = dns.RcodeBadVers
	f.Add(must(r.Pack())(f))
	fw := newForwarder(nil)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r dns.Msg
		if r.Unpack(raw) != nil {
			return
		}
		q := question("www.test", dns.TypeA).SetEdns0(1232, false)
		out := fw.pass(q, &r)
		finish(q, out, ownSize)
		b, err := out.Pack()
		if err != nil {
			return // counted, and not sent
		}
		if len(b) > ownSize {
			t.Fatalf("%d bytes", len(b))
		}
	})
}

// FuzzResolvers: whatever is in a resolv.conf, no server is asked twice, this one never, and each comes from a line of its own.
func FuzzResolvers(f *testing.F) {
	for _, text := range []string{"nameserver 192.0.2.1\nnameserver ::ffff:192.0.2.1\n", "nameserver 169.254.169.250\nnameserver ::ffff:169.254.169.250%eth0", "nameserver fe80::1%eth0\r\n",
		"# nameserver 192.0.2.1\nsearch test\noptions ndots:5\n", "nameserver\nnameserver nameserver 192.0.2.1\n", "\tnameserver 2001:db8::1 # x\x00\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list := parseResolvers(text)
		seen := map[netip.AddrPort]bool{}
		for _, server := range list {
			if !server.IsValid() || server.Port() != 53 || server.Addr().Is4In6() || server.Addr() == link.ServiceAddr || seen[server] {
				t.Fatalf("%v of %q", list, text)
			}
			seen[server] = true
		}
		if lines := strings.Count(text, "nameserver"); len(list) > lines {
			t.Fatalf("%d servers in %d lines", len(list), lines)
		}
		// Written down again it means the same.
		var again strings.Builder
		for _, server := range list {
			fmt.Fprintln(&again, "nameserver", server.Addr())
		}
		if got := parseResolvers(again.String()); !slices.Equal(got, list) {
			t.Fatalf("%v, then %v", list, got)
		}
	})
}
