package esp

import (
	"fmt"
	"testing"
)

var sizes = []int{64, 512, 1400, 8900}

func BenchmarkSeal(b *testing.B) {
	for _, name := range []string{"aes", "chacha"} {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				s, _ := pair(b, transforms[name], 0)
				inner, out := make([]byte, n, n+MaxTrailer), make([]byte, 0, n+MaxOverhead)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := s.Seal(out, inner); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, name := range []string{"aes", "chacha"} {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				s, o := pair(b, transforms[name], 0)
				packet, err := s.Seal(nil, make([]byte, n))
				if err != nil {
					b.Fatal(err)
				}
				work := make([]byte, len(packet))
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					copy(work, packet) // it is opened in place
					o.window.top, o.window.ring[0] = 0, 0
					if _, err := o.Open(work); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func TestNothingAllocates(t *testing.T) {
	for name, tr := range transforms {
		s, o := pair(t, tr, 0)
		inner, out := make([]byte, 1400, 1400+MaxTrailer), make([]byte, 0, 1400+MaxOverhead)
		if n := testing.AllocsPerRun(100, func() {
			packet, err := s.Seal(out, inner)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := o.Open(packet); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations for a packet", name, n)
		}
	}
}
