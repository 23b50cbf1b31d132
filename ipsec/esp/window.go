package esp

// WindowSize is how far below the highest sequence number a late packet is still accepted.
const WindowSize = 4096

const (
	wordBits = 64
	// words is a power of two and holds more than the window, so that the word which Update clears while it moves on
	// never holds a number that is still inside (RFC 6479, section 2).
	words = 2 * WindowSize / wordBits
)

// Window tells which 64-bit sequence numbers have been seen, as a ring of bitmap words (RFC 6479). The zero value has
// seen nothing; 0 itself is never acceptable. Not safe for concurrent use.
type Window struct {
	top  uint64
	ring [words]uint64
}

// Reset makes the window accept exactly the numbers above after.
func (w *Window) Reset(after uint64) {
	w.top = after
	fill := uint64(0)
	if after > 0 {
		fill = ^fill // everything up to after counts as seen
	}
	for i := range w.ring {
		w.ring[i] = fill
	}
	if after > 0 {
		// The word of after also has the bits of the numbers just above it, which are not seen.
		w.ring[index(after)] = ^uint64(0) >> (wordBits - 1 - after%wordBits)
	}
}

// Top is the highest number seen.
func (w *Window) Top() uint64 { return w.top }

// Check says whether seq may be accepted: nil, ErrOld or ErrReplay. It changes nothing.
func (w *Window) Check(seq uint64) error {
	if seq > w.top {
		return nil
	}
	if seq == 0 || w.top-seq >= WindowSize {
		return ErrOld
	}
	if w.ring[index(seq)]&(1<<(seq%wordBits)) != 0 {
		return ErrReplay
	}
	return nil
}

// Update marks seq, for which Check gave nil, as seen.
func (w *Window) Update(seq uint64) {
	if seq > w.top {
		from, to := w.top/wordBits, seq/wordBits
		if to-from > words {
			from = to - words
		}
		for i := from + 1; i <= to; i++ {
			w.ring[i%words] = 0
		}
		w.top = seq
	}
	w.ring[index(seq)] |= 1 << (seq % wordBits)
}

func index(seq uint64) uint64 { return seq / wordBits % words }

// extend gives the 64-bit number whose low half is low, nearest to the window that ends at top (RFC 4303, appendix
// A2.2). Not ok: the number would lie below zero.
func extend(top uint64, low uint32) (seq uint64, ok bool) {
	topLow, high := uint32(top), top>>32
	bottom := topLow - WindowSize + 1 // modulo 2^32
	if topLow >= WindowSize-1 {       // case A: the window lies in one subspace
		if low < bottom {
			high++
		}
	} else if low >= bottom { // case B: it spans two, and low is in the lower one
		if high == 0 {
			return 0, false
		}
		high--
	}
	return high<<32 | uint64(low), true
}
