package ipam

import (
	"testing"

	"github.com/meshsec/meshsec/internal/teststore"
)

// One container start and stop after the other, each with its two writes to disk.
func BenchmarkRequestAddress(b *testing.B) {
	r := newRig(b, teststore.New(b), "one")
	id := r.network("", "")
	for b.Loop() {
		r.release(id, r.mustAddress(id, ""))
	}
}

// As many as come at once share writes.
func BenchmarkRequestAddressParallel(b *testing.B) {
	r := newRig(b, teststore.New(b), "one")
	id := r.network("", "")
	r.mustAddress(id, "")
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			addr, err := r.address(id, "")
			if err != nil {
				b.Error(err)
				return
			}
			r.release(id, addr.Addr())
		}
	})
}
