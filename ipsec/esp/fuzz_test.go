package esp

import (
	"bytes"
	"testing"
)

// FuzzOpen: whatever comes in, Open does not panic, and accepts nothing but what was sealed, once.
func FuzzOpen(f *testing.F) {
	seed, _ := pair(f, AES256GCM, 0)
	for _, n := range []int{0, 1, 20, 64, 1400} {
		packet, err := seed.Seal(nil, make([]byte, n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packet, uint64(0))
		f.Add(packet[:len(packet)-1], uint64(3))
	}
	f.Add([]byte{}, uint64(0))
	f.Add(bytes.Repeat([]byte{0xff}, 70), uint64(1<<32-2))
	f.Add(make([]byte, MinSize), uint64(1<<40))
	f.Fuzz(func(t *testing.T, packet []byte, top uint64) {
		for _, tr := range transforms {
			_, o := pair(t, tr, top)
			before := o.window
			inner, err := o.Open(bytes.Clone(packet))
			if err == nil {
				// It can only be one of the seeds' sequence numbers under their key.
				if top >= 5 || tr != AES256GCM || len(inner) > len(packet)-MinSize {
					t.Fatalf("opened %x after %d", packet, top)
				}
				if _, err := o.Open(bytes.Clone(packet)); err == nil {
					t.Fatal("opened twice")
				}
			} else if o.window != before {
				t.Fatalf("%v, and the window has changed", err)
			}
		}
	})
}

// FuzzTrim: the trailer of an authentic packet is still another host's word.
func FuzzTrim(f *testing.F) {
	f.Add([]byte{0, 4})
	f.Add([]byte{1, 2, 3, 3, 4})
	f.Add([]byte{255, 255})
	f.Fuzz(func(t *testing.T, plain []byte) {
		if len(plain) < 2 {
			return // Open has checked this
		}
		if inner, err := trim(plain); err == nil && !bytes.HasPrefix(plain, inner) {
			t.Fatalf("%x became %x", plain, inner)
		}
	})
}
