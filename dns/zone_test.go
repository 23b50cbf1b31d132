package dns

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestAnswers(t *testing.T) {
	z := zone()
	z.Age = 90 * time.Second
	const two = "10.42.64.2, 10.42.64.3"
	for _, c := range []struct {
		name string
		kind uint16
		want string
	}{
		// Every kind of name, bare, by its network, and in the domain.
		{"web", dns.TypeA, two},
		{"WEB", dns.TypeA, two},
		{"shop-web-1", dns.TypeA, "10.42.64.2"},
		{"web.shop", dns.TypeA, two},
		{"shop_web", dns.TypeA, two},
		{"tasks.web", dns.TypeA, two},
		{"tasks.shop_web", dns.TypeA, two},
		{"api.test", dns.TypeA, two},
		{"web.default.meshsec.internal", dns.TypeA, two},
		{"web.shop.default.meshsec.internal", dns.TypeA, two},
		{"db.shop.meshsec.internal", dns.TypeA, "10.43.64.2"},
		{"Shop-Web-2.Meshsec.Internal", dns.TypeA, "10.42.64.3"},
		{"tasks.web.meshsec.internal", dns.TypeA, two},
		{"me", dns.TypeA, "10.43.0.9, 127.0.0.1"},
		{"one.host.meshsec.internal", dns.TypeA, "192.0.2.1"},
		{"two.host.meshsec.internal", dns.TypeA, "192.0.2.2"},
		{"ns.meshsec.internal", dns.TypeA, "169.254.169.250"},
		// What is not there, and what is not the asker's.
		{"none.meshsec.internal", dns.TypeA, "NXDOMAIN"},
		{"vault.meshsec.internal", dns.TypeA, "NXDOMAIN"},
		{"vault.secret.meshsec.internal", dns.TypeA, "NXDOMAIN"},
		{"web.secret.meshsec.internal", dns.TypeA, "NXDOMAIN"},
		{"none.host.meshsec.internal", dns.TypeA, "NXDOMAIN"},
		{"none.meshsec.internal", dns.TypeANY, "NXDOMAIN"},
		{"vault", dns.TypeA, "forward"},
		{"none", dns.TypeA, "forward"},
		{"shop", dns.TypeA, "forward"}, // web.shop is below it, but it is none itself
		{"example.test", dns.TypeA, "forward"},
		{"notmeshsec.internal", dns.TypeA, "forward"},
		{".", dns.TypeNS, "forward"},
		// Names that only have others below them are there.
		{"meshsec.internal", dns.TypeA, "NOERROR"},
		{"host.meshsec.internal", dns.TypeA, "NOERROR"},
		{"default.meshsec.internal", dns.TypeA, "NOERROR"},
		{"test.meshsec.internal", dns.TypeA, "NOERROR"},
		{"secret.meshsec.internal", dns.TypeA, "NXDOMAIN"},
		// Other types.
		{"web", dns.TypeAAAA, "NOERROR"},
		{"web", dns.TypeMX, "NOERROR"},
		{"web", dns.TypeANY, `RFC8482 `},
		{"meshsec.internal", dns.TypeNS, "ns.meshsec.internal."},
		{"meshsec.internal", dns.TypeSOA, "ns.meshsec.internal. hostmaster.meshsec.internal. 42 60 60 86400 5"},
		{"db", dns.TypeTXT, "container=db network=Shop address=10.43.64.2 host=two"},
		{"two.host.meshsec.internal", dns.TypeTXT, "id=" + far + " version=v1 lost=false"},
		{"_age.meshsec.internal", dns.TypeTXT, "age=90 revision=42 etcd=false"},
		{"_age.meshsec.internal", dns.TypeA, "NOERROR"},
		// Addresses.
		{"2.64.42.10.in-addr.arpa", dns.TypePTR, "shop-web-1.default.meshsec.internal."},
		{"2.64.43.10.IN-ADDR.ARPA", dns.TypePTR, "db.shop.meshsec.internal."},
		{"2.64.42.10.in-addr.arpa", dns.TypeA, "NOERROR"},
		{"9.64.42.10.in-addr.arpa", dns.TypePTR, "NXDOMAIN"},
		{"2.16.44.10.in-addr.arpa", dns.TypePTR, "NXDOMAIN"}, // secret's
		{"250.169.254.169.in-addr.arpa", dns.TypePTR, "ns.meshsec.internal."},
		{"1.2.0.192.in-addr.arpa", dns.TypePTR, "forward"},
		{"2.32.44.10.in-addr.arpa", dns.TypePTR, "forward"}, // just outside a pool
		{"02.64.42.10.in-addr.arpa", dns.TypePTR, "forward"},
		{"64.42.10.in-addr.arpa", dns.TypePTR, "forward"},
		// Ports.
		{"_http._tcp.web", dns.TypeSRV, "0 1 8080 shop-web-1.default.meshsec.internal., 0 1 8080 shop-web-2.default.meshsec.internal."},
		{"_dns._udp.shop-web-1", dns.TypeSRV, "0 1 53 shop-web-1.default.meshsec.internal."},
		{"_80._tcp.shop-web-1.meshsec.internal", dns.TypeSRV, "0 1 80 shop-web-1.default.meshsec.internal."},
		{"shop-web-1", dns.TypeSRV, "0 1 53 shop-web-1.default.meshsec.internal., 0 1 80 shop-web-1.default.meshsec.internal., 0 1 8080 shop-web-1.default.meshsec.internal."},
		{"_http._udp.web", dns.TypeSRV, "NOERROR"},
		{"_http._tcp.web", dns.TypeA, "NOERROR"},
		{"_http._tcp.vault.meshsec.internal", dns.TypeSRV, "NXDOMAIN"},
		{"_xmpp._tcp.example.test", dns.TypeSRV, "forward"},
	} {
		r := z.asks(me, c.name, c.kind)
		if got := says(r); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.name, dns.TypeToString[c.kind], got, c.want)
		}
		if r == nil {
			continue
		}
		if !r.Authoritative || !r.Response || !r.RecursionAvailable {
			t.Errorf("%s: flags %+v", c.name, r.MsgHdr)
		}
		for _, rr := range append(r.Answer, r.Ns...) {
			if rr.Header().Ttl != TTL {
				t.Errorf("%s: TTL of %s", c.name, rr)
			}
		}
		if len(r.Answer) == 0 {
			checkNegative(t, c.name, r)
		}
	}
}

// checkNegative: a negative answer has the SOA of a zone that the name is in, with the time that it may be kept (RFC 2308).
func checkNegative(t *testing.T, name string, r *dns.Msg) {
	t.Helper()
	soa, ok := first(r.Ns).(*dns.SOA)
	if !ok || soa.Minttl != TTL || !dns.IsSubDomain(soa.Hdr.Name, dns.Fqdn(name)) {
		t.Errorf("%s: negative answer with %v", name, r.Ns)
	}
}

func first(rrs []dns.RR) dns.RR {
	if len(rrs) == 0 {
		return nil
	}
	return rrs[0]
}

func TestOtherNetworksAreNotThere(t *testing.T) {
	z := zone()
	for name, want := range map[string]string{"web": "forward", "db": "10.43.64.2", "me": "10.43.0.9", "web.default.meshsec.internal": "NXDOMAIN",
		"default.meshsec.internal": "NXDOMAIN", "me.meshsec.internal": "10.43.0.9"} {
		if got := says(z.asks(other, name, dns.TypeA)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := says(z.asks(other, "2.64.42.10.in-addr.arpa", dns.TypePTR)); got != "NXDOMAIN" {
		t.Error(got)
	}
}

func TestNamesOfLostHosts(t *testing.T) {
	z := zone(far)
	for name, want := range map[string]string{"web": "NOERROR", "web.meshsec.internal": "NOERROR", "two.host.meshsec.internal": "NOERROR", "me": "10.43.0.9, 127.0.0.1"} {
		if got := says(z.asks(me, name, dns.TypeA)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := says(z.asks(me, "2.64.42.10.in-addr.arpa", dns.TypePTR)); got != "NXDOMAIN" {
		t.Error(got)
	}
}

func TestOrderIsRandom(t *testing.T) {
	z := zone()
	begins := map[string]int{}
	for range 200 {
		begins[z.asks(me, "web", dns.TypeA).Answer[0].(*dns.A).A.String()]++
	}
	if len(begins) != 2 || begins["10.42.64.2"] < 50 || begins["10.42.64.3"] < 50 {
		t.Errorf("first answers: %v", begins)
	}
}

func TestSRVBringsTheAddresses(t *testing.T) {
	z := zone()
	r := z.asks(me, "_http._tcp.web", dns.TypeSRV)
	if len(r.Extra) != 2 || !strings.Contains(r.Extra[0].String(), "10.42.64.") {
		t.Errorf("%v", r.Extra)
	}
	for _, rr := range r.Answer { // and what it points to is there
		if got := says(z.asks(me, rr.(*dns.SRV).Target, dns.TypeA)); !strings.HasPrefix(got, "10.42.64.") {
			t.Errorf("%s: %s", rr, got)
		}
	}
}

func TestReverseZones(t *testing.T) {
	for pool, want := range map[string]string{"10.42.0.0/16": "42.10.in-addr.arpa", "10.44.16.0/20": "44.10.in-addr.arpa", "10.0.0.0/8": "10.in-addr.arpa", "10.1.2.0/28": "2.1.10.in-addr.arpa"} {
		if got := zoneOf(netip.MustParsePrefix(pool)); got != want {
			t.Errorf("%s: %s, want %s", pool, got, want)
		}
	}
}
