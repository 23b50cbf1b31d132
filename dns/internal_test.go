package dns

import (
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// TestInternalNetworksAreNoWayOut: no question of a container that is only on internal networks reaches a resolver, however
// it is put; its own names it still finds. Whoever is on another network as well may ask by either.
func TestInternalNetworksAreNoWayOut(t *testing.T) {
	var asked atomic.Int32
	up := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		tells(dns.RcodeSuccess, "www.test. 9 A 192.0.2.7")(w, q)
	})
	s, at := served(t, by(up))
	for _, network := range []string{"udp", "tcp"} {
		for _, c := range []struct {
			name string
			kind uint16
		}{{"secret.www.test", dns.TypeA}, {"secret.www.test", dns.TypeTXT}, {"_secret._tcp.www.test", dns.TypeSRV}, {"7.2.0.192.in-addr.arpa", dns.TypePTR}, {".", dns.TypeNS}, {"web", dns.TypeA}} {
			for _, q := range []*dns.Msg{question(c.name, c.kind), question(c.name, c.kind).SetEdns0(1232, true)} {
				if r := exchange(t, network, at, shut, q); says(r) != "REFUSED" || r.Authoritative {
					t.Errorf("%s %s: %v", network, c.name, r)
				}
			}
		}
		for name, want := range map[string]string{"shut": shut.String(), "shut.inner.meshsec.internal": shut.String(), "none.meshsec.internal": "NXDOMAIN"} {
			if got := says(exchange(t, network, at, shut, question(name, dns.TypeA))); got != want {
				t.Errorf("%s %s: %s, want %s", network, name, got, want)
			}
		}
	}
	if st := s.Stats(); asked.Load() != 0 || st.Forwarded != 0 || st.Drops["internal"] != 24 {
		t.Errorf("a resolver was asked %d times; %+v", asked.Load(), st)
	}
	if got := says(exchange(t, "udp", at, me, question("www.test", dns.TypeA))); got != "192.0.2.7" {
		t.Errorf("on another network: %s", got)
	}
}

// TestExplainSaysThatNobodyIsAsked: people are told what the container is.
func TestExplainSaysThatNobodyIsAsked(t *testing.T) {
	o := by(netip.MustParseAddrPort("192.0.2.53:53"))
	s, _ := served(t, o)
	for from, want := range map[netip.Addr]struct{ rcode, why string }{shut: {"REFUSED", "internal"}, me: {"", "192.0.2.53"}} {
		e, err := s.Explain("www.test", "A", s.zone().Names.Asker(from))
		if err != nil || e.Rcode != want.rcode || !slices.ContainsFunc(e.Why, func(w string) bool { return strings.Contains(w, want.why) }) {
			t.Errorf("%s: %+v, %v", from, e, err)
		}
	}
}
