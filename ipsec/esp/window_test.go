package esp

import (
	"errors"
	"math/rand/v2"
	"testing"
)

// slowWindow is the replay window as RFC 4303, section 3.4.3 says it, without a ring.
type slowWindow struct {
	top  uint64
	seen map[uint64]bool
}

func (w *slowWindow) check(seq uint64) error {
	switch {
	case seq == 0 || seq+WindowSize <= w.top:
		return ErrOld
	case w.seen[seq]:
		return ErrReplay
	}
	return nil
}

func (w *slowWindow) update(seq uint64) {
	w.seen[seq] = true
	w.top = max(w.top, seq)
}

func TestWindowAgainstOracle(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		start := []uint64{0, 0, 100, 1<<32 - 5000, 1<<32 + 77, 63, 64, 4096}[seed]
		w, slow := &Window{}, &slowWindow{top: start, seen: map[uint64]bool{}}
		w.Reset(start)
		for i := uint64(0); i <= min(start, 2*WindowSize); i++ {
			slow.seen[start-i] = true
		}
		for i := range 20000 {
			seq := slow.top
			switch r.IntN(8) {
			case 0, 1, 2:
				seq += 1 + r.Uint64N(4)
			case 3, 4:
				seq -= min(seq, r.Uint64N(WindowSize+200))
			case 5:
				seq -= min(seq, r.Uint64N(100))
			case 6:
				seq = r.Uint64N(seq + 3)
			default:
				seq += r.Uint64N([]uint64{70, 5000, 9000, 40000}[r.IntN(4)])
			}
			got, want := w.Check(seq), slow.check(seq)
			if !errors.Is(got, want) || want != nil && got == nil {
				t.Fatalf("seed %d, step %d, top %d, number %d: %v, oracle %v", seed, i, slow.top, seq, got, want)
			}
			if want == nil && r.IntN(10) > 0 { // else it was not authentic
				w.Update(seq)
				slow.update(seq)
			}
			if w.Top() != slow.top {
				t.Fatalf("top %d, oracle %d", w.Top(), slow.top)
			}
		}
	}
}

// The list is that of RFC 6479's problem: edges of words, of the window, and jumps over all of it.
func TestWindowEdges(t *testing.T) {
	const w = WindowSize
	var win Window
	for i, c := range []struct {
		seq  uint64
		want error
	}{
		{0, ErrOld}, {1, nil}, {1, ErrReplay}, {9, nil}, {8, nil}, {7, nil}, {7, ErrReplay}, {w, nil}, {w - 1, nil}, {w, ErrReplay},
		{w - 1, ErrReplay}, {2, nil}, {w + 16, nil}, {3, ErrOld}, {w + 16, ErrReplay}, {w * 4, nil}, {w*4 - (w - 1), nil},
		{10, ErrOld}, {w*4 - w, ErrOld}, {w*4 - (w + 1), ErrOld}, {w*4 - (w - 2), nil}, {w*4 + 1, nil}, {w*4 - (w - 1), ErrOld},
		{1 << 63, nil}, {1<<63 - w + 1, nil}, {1<<63 - w, ErrOld}, {1<<63 - 1, nil}, {1<<64 - 1, nil}, {1<<64 - w, nil}, {1<<64 - 1, ErrReplay},
	} {
		got := win.Check(c.seq)
		if !errors.Is(got, c.want) || c.want != nil && got == nil {
			t.Fatalf("%d: number %d: %v, want %v", i, c.seq, got, c.want)
		}
		if got == nil {
			win.Update(c.seq)
		}
	}
}

// RFC 4303 appendix A2.2: the number found is the one within half of 2^32 around the window, so for every number that is
// in the window or less than 2^32-4096 above it the low half is enough.
func TestExtend(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 50000 {
		top := r.Uint64N(1 << (30 + r.Uint64N(10)))
		if r.IntN(3) == 0 { // near an edge of 32 bits
			top = r.Uint64N(4)<<32 + r.Uint64N(2*WindowSize) - min(WindowSize, top)
			if top > 1<<50 {
				top = 0
			}
		}
		bottom := top - min(top, WindowSize-1)
		for _, seq := range []uint64{bottom, top, top + 1, bottom + r.Uint64N(WindowSize), top + r.Uint64N(1<<32-WindowSize)} {
			if got, ok := extend(top, uint32(seq)); !ok || got != seq {
				t.Fatalf("top %#x: %#x became %#x, %v", top, seq, got, ok)
			}
		}
	}
	for _, low := range []uint32{1<<32 - 1, 1<<32 - WindowSize + 100} {
		if seq, ok := extend(99, low); ok {
			t.Errorf("%#x became %#x, below zero", low, seq)
		}
	}
}
