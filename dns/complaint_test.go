package dns

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// The numbers are those of the list in docs/services.md.

// TestComplaint01NamesDoNotFailNowAndThen: many ask at once while the facts change all the time; every answer is right.
func TestComplaint01NamesDoNotFailNowAndThen(t *testing.T) {
	board := crowd(50)
	_, at := served(t, Options{Board: board, Rate: 1 << 20})
	stop, changed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(changed)
		for {
			select {
			case <-stop:
				return
			default:
				now, _ := board.Now()
				board.Set(now.Next(now.Snapshot(), now.Local(), map[string]bool{self: true}))
				board.Set(now)
			}
		}
	}()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range 100 {
				r := exchange(t, "udp", at, me, question(fmt.Sprint("container-", i%50), dns.TypeA))
				if got := says(r); !strings.HasPrefix(got, "10.42.0.") {
					t.Error(got)
				}
			}
		})
	}
	group.Wait()
	close(stop)
	<-changed
}

// TestComplaint06NXDOMAIN: a name that is not there is told to be so, with the start of authority, or resolvers such as
// musl's try on and fail.
func TestComplaint06NXDOMAIN(t *testing.T) {
	z := zone()
	for _, name := range []string{"none.meshsec.internal", "none.default.meshsec.internal", "9.64.42.10.in-addr.arpa"} {
		r := z.asks(me, name, dns.TypeA)
		if r == nil || r.Rcode != dns.RcodeNameError || !r.Authoritative {
			t.Fatalf("%s: %v", name, r)
		}
		checkNegative(t, name, r)
	}
}

// TestComplaint07BareNamesNeedNoSearchList: a name of one label, and one with dots, is found as it is.
func TestComplaint07BareNamesNeedNoSearchList(t *testing.T) {
	z := zone()
	for _, name := range []string{"db", "web.shop", "db.shop.meshsec.internal", "db.meshsec.internal"} {
		if got := says(z.asks(me, name, dns.TypeA)); !strings.HasPrefix(got, "10.4") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestComplaint08AAAAIsAnsweredAtOnce: there are no IPv6 addresses, and it takes no resolver to say so.
func TestComplaint08AAAAIsAnsweredAtOnce(t *testing.T) {
	o := by()
	o.Resolvers = func() []netip.AddrPort {
		t.Error("the host's resolvers were asked")
		return nil
	}
	_, at := served(t, o)
	for _, name := range []string{"web", "web.meshsec.internal", "two.host.meshsec.internal"} {
		r := exchange(t, "udp", at, me, question(name, dns.TypeAAAA))
		if r.Rcode != dns.RcodeSuccess || len(r.Answer) != 0 {
			t.Errorf("%s: %v", name, r)
		}
		checkNegative(t, name, r)
	}
}

// TestComplaint09PTR and TestComplaint10SRV: addresses have names, and names have ports.
func TestComplaint09PTR(t *testing.T) {
	if got := says(zone().asks(me, "2.64.43.10.in-addr.arpa", dns.TypePTR)); got != "db.shop.meshsec.internal." {
		t.Error(got)
	}
}

func TestComplaint10SRV(t *testing.T) {
	for _, name := range []string{"_http._tcp.web", "_8080._tcp.web.shop", "_80._tcp.web.default.meshsec.internal"} {
		if got := says(zone().asks(me, name, dns.TypeSRV)); !strings.Contains(got, "shop-web-1.default.meshsec.internal.") {
			t.Errorf("%s: %s", name, got)
		}
	}
}
