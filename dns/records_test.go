package dns

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// many is a zone in which n containers, each with two ports, have the name crowd.
func many(n int) Zone {
	z := Zone{Domain: "meshsec.internal"}
	z.Names, _ = crowd(n).Now()
	return z
}

// TestNoMoreRecordsThanFit: of a name's thousands of holders only those are made into records that the asker can take, and
// the reply is marked as cut; what an answer costs does not grow with them.
func TestNoMoreRecordsThanFit(t *testing.T) {
	small, large := many(200), many(4000)
	for _, kind := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypeTXT} {
		for _, size := range []int{dns.MinMsgSize, ownSize, streamSize} {
			q := question("crowd", kind)
			if size == ownSize {
				q.SetEdns0(ownSize, false)
			}
			r, holders := large.answer(q, large.Names.Asker(me), size)
			n := len(r.Answer) + len(r.Extra)
			if n == 0 || n > size/recordSize || len(r.Answer) > maxAnswers || holders != 4000 || r.Truncated != (len(r.Answer) < maxAnswers) {
				t.Errorf("%s in %d bytes: %d records, %d holders, truncated %v", dns.TypeToString[kind], size, n, holders, r.Truncated)
			}
			if size > ownSize {
				continue
			}
			made := len(r.Answer)
			if finish(q, r, size); len(r.Answer) == 0 || made-len(r.Answer) > made/2 {
				t.Errorf("%s in %d bytes: %d of %d records went out", dns.TypeToString[kind], size, len(r.Answer), made)
			}
			work := func(z Zone) float64 {
				from := z.Names.Asker(me)
				return testing.AllocsPerRun(20, func() { z.answer(q, from, size) })
			}
			if of200, of4000 := work(small), work(large); of4000 > of200*1.2+10 {
				t.Errorf("%s in %d bytes: %.0f allocations for 200 holders, %.0f for 4000", dns.TypeToString[kind], size, of200, of4000)
			}
		}
	}
	// A port that nobody has: all are looked at, and nothing is made.
	q := question("_none._tcp.crowd", dns.TypeSRV)
	from := large.Names.Asker(me)
	if got := testing.AllocsPerRun(20, func() { large.answer(q, from, ownSize) }); got > 50 {
		t.Errorf("%.0f allocations for no record", got)
	}
}

// TestWhatFitsIsNotCut: the room is used to the last byte before anything is called cut.
func TestWhatFitsIsNotCut(t *testing.T) {
	for n := range 40 {
		z := many(n + 1)
		for _, kind := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypeTXT} {
			for _, q := range []*dns.Msg{question("crowd", kind), question("crowd", kind).SetEdns0(1232, true)} {
				whole := z.Answer(q, z.Names.Asker(me))
				whole.Extra = nil
				if q.IsEdns0() != nil {
					whole.SetEdns0(ownSize, true)
				}
				whole.Compress = true
				fits := len(must(whole.Pack())(t)) <= takes(q, ownSize)
				r, _ := z.answer(q, z.Names.Asker(me), takes(q, ownSize))
				if r.Truncated && fits || fits && len(r.Answer) != len(whole.Answer) {
					t.Errorf("%d holders, %s: %d of %d records, truncated %v, but all fit", n+1, dns.TypeToString[kind], len(r.Answer), len(whole.Answer), r.Truncated)
				}
				if finish(q, r, ownSize); !fits && !r.Truncated {
					t.Errorf("%d holders, %s: not marked as cut", n+1, dns.TypeToString[kind])
				}
			}
		}
	}
}

// TestEverybodyIsAnsweredSometimes: what is left out is so at random, and no record is there twice.
func TestEverybodyIsAnsweredSometimes(t *testing.T) {
	z := many(100)
	for _, kind := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypeTXT} {
		q, seen := question("crowd", kind), map[string]int{}
		for range 500 {
			r, _ := z.answer(q, z.Names.Asker(me), dns.MinMsgSize)
			finish(q, r, dns.MinMsgSize)
			once := map[string]bool{}
			for _, rr := range r.Answer {
				if once[rr.String()] {
					t.Fatalf("twice: %s", rr)
				}
				once[rr.String()] = true
				seen[rr.String()]++
			}
		}
		want := 100
		if kind == dns.TypeSRV {
			want = 200
		}
		if len(seen) != want {
			t.Errorf("%s: %d different records were seen, want %d", dns.TypeToString[kind], len(seen), want)
		}
	}
}

// TestLongAnswersCostMore: a container may ask for what is long, or for a name of many, less often.
func TestLongAnswersCostMore(t *testing.T) {
	s := New(Options{Domain: "meshsec.internal", Board: crowd(500), Age: func() (time.Duration, bool) { return 0, true },
		Resolvers: func() []netip.AddrPort { return nil }, Rate: 100})
	now := time.Unix(1e9, 0)
	asks := func(from netip.Addr, q *dns.Msg, size int) (n int) {
		raw := must(q.Pack())(t)
		for s.limit.Allow(from, now) {
			if out, _ := s.answer(s.zone(), ask{raw, from, size}, make([]byte, ownSize)); out == nil {
				t.Fatal("no answer")
			}
			n++
		}
		now = now.Add(time.Minute)
		return n
	}
	for _, c := range []struct {
		name       string
		size, most int
	}{{"container-1", ownSize, 200}, {"crowd", ownSize, 25}, {"_none._tcp.crowd", ownSize, 25}, {"crowd", streamSize, 4}} {
		q := question(c.name, dns.TypeSRV).SetEdns0(1232, false)
		if n := asks(me, q, c.size); n > c.most || n < c.most/2 {
			t.Errorf("%s: %d times at once, want %d", c.name, n, c.most)
		}
	}
}

// BenchmarkLongAnswer is a question for a name of 500 containers with two ports each, by UDP and TCP.
func BenchmarkLongAnswer(b *testing.B) {
	s := New(Options{Domain: "meshsec.internal", Board: crowd(500), Age: func() (time.Duration, bool) { return 0, true },
		Resolvers: func() []netip.AddrPort { return nil }})
	room, z := make([]byte, ownSize), s.zone()
	for _, name := range []string{"crowd A", "crowd SRV", "crowd TXT", "_none._tcp.crowd SRV"} {
		for _, size := range []int{dns.MinMsgSize, streamSize} {
			var q dns.Msg
			var of, kind string
			_, _ = fmt.Sscan(name, &of, &kind)
			raw := must(q.SetQuestion(dns.Fqdn(of), dns.StringToType[kind]).Pack())(b)
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if out, _ := s.answer(z, ask{raw, me, size}, room); len(out) < len(raw) {
						b.Fatal("no answer")
					}
				}
			})
		}
	}
}
