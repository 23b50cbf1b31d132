package dns

import (
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// BenchmarkAnswer is a question for one of 300 containers, from the message that comes to the one that goes.
func BenchmarkAnswer(b *testing.B) {
	s := New(Options{Domain: "meshsec.internal", Board: crowd(300), Age: func() (time.Duration, bool) { return 0, true },
		Resolvers: func() []netip.AddrPort { return nil }})
	raw := must(question("container-7.meshsec.internal", dns.TypeA).Pack())(b)
	room := make([]byte, ownSize)
	z := s.zone()
	b.ReportAllocs()
	for b.Loop() {
		if out, _ := s.answer(z, ask{raw, me, ownSize}, room); len(out) < len(raw) {
			b.Fatal("no answer")
		}
	}
}
