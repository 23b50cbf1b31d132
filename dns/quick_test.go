package dns

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// lines are a message's records, in any order.
func lines(r *dns.Msg) string {
	var list []string
	for _, rr := range append(append(r.Answer, r.Ns...), r.Extra...) {
		list = append(list, rr.String())
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// checkQuick: what quick answers is what Answer does.
func checkQuick(t *testing.T, z Zone, raw []byte) (quickly bool) {
	t.Helper()
	out := z.quick(raw, z.Names.Asker(me), make([]byte, ownSize))
	if out == nil {
		return false
	}
	var q, r dns.Msg
	if err := q.Unpack(raw); err != nil {
		t.Fatalf("%x is answered, and no message: %v", raw, err)
	}
	if err := r.Unpack(out); err != nil {
		t.Fatalf("%x: %v", out, err)
	}
	no, ok := Check(&q)
	if no != nil || !ok {
		t.Fatalf("%v is answered, and no question", &q)
	}
	want := z.Answer(&q, z.Names.Asker(me))
	if want == nil {
		t.Fatalf("%v is answered, and not ours", &q)
	}
	finish(&q, want, ownSize)
	if lines(&r) != lines(want) || r.MsgHdr != want.MsgHdr || len(r.Question) != 1 || r.Question[0] != want.Question[0] {
		t.Fatalf("%v\nwant %v", &r, want)
	}
	return true
}

func TestQuickSaysTheSame(t *testing.T) {
	z := zone()
	for _, c := range []struct {
		name  string
		kind  uint16
		quick bool
	}{
		{"web", dns.TypeA, true}, {"WeB.Shop", dns.TypeA, true}, {"db.shop.meshsec.internal", dns.TypeA, true}, {"me", dns.TypeA, true},
		{"web", dns.TypeAAAA, false}, {"none.meshsec.internal", dns.TypeA, false}, {"vault", dns.TypeA, false}, {"example.test", dns.TypeA, false},
		{"_http._tcp.web", dns.TypeA, false}, {"two.host.meshsec.internal", dns.TypeA, false}, {"ns.meshsec.internal", dns.TypeA, false},
		{"2.64.42.10.in-addr.arpa", dns.TypeA, false}, {"a\\032b", dns.TypeA, false}, {".", dns.TypeA, false},
	} {
		for _, q := range []*dns.Msg{question(c.name, c.kind), question(c.name, c.kind).SetEdns0(4096, false), question(c.name, c.kind).SetEdns0(100, true)} {
			for _, rd := range []bool{true, false} {
				q.RecursionDesired = rd
				if got := checkQuick(t, z, must(q.Pack())(t)); got != c.quick {
					t.Errorf("%s: quick %v", q.Question[0].Name, got)
				}
			}
		}
	}
	q := question("web", dns.TypeA).SetEdns0(1232, false)
	q.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"}}
	if checkQuick(t, z, must(q.Pack())(t)) {
		t.Error("options are not for the quick way")
	}
	many := Zone{Domain: "meshsec.internal"}
	many.Names, _ = crowd(300).Now()
	if checkQuick(t, many, must(question("crowd", dns.TypeA).Pack())(t)) {
		t.Error("what does not fit is not for the quick way")
	}
}

// FuzzQuick: whatever comes, the quick way says what the long one does.
func FuzzQuick(f *testing.F) {
	for _, name := range []string{"web", "web.shop", "db.shop.meshsec.internal", "none", "."} {
		f.Add(must(question(name, dns.TypeA).Pack())(f))
		f.Add(must(question(name, dns.TypeA).SetEdns0(1232, true).Pack())(f))
	}
	z := zone()
	f.Fuzz(func(t *testing.T, raw []byte) { checkQuick(t, z, raw) })
}
