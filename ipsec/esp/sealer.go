package esp

import (
	"encoding/binary"
	"sync/atomic"
)

// Sealer is the sending side of one SA. It owns the sequence numbers: there must never be two Sealers for one key.
// Seal has one caller at a time; Retire may be called at any time.
type Sealer struct {
	keyed
	spi uint32
	seq atomic.Uint64 // last one used
}

// NewSealer makes the sending side of an SA whose first packet gets the sequence number after+1. A fresh key starts
// after 0; a key that was in use in this process goes on after what its former Sealer's Retire returned.
func NewSealer(spi uint32, t Transform, key *[KeySize]byte, after uint64) (*Sealer, error) {
	k, err := newKeyed(spi, t, key)
	if err != nil {
		return nil, err
	}
	s := &Sealer{keyed: k, spi: spi}
	s.seq.Store(after)
	return s, nil
}

// retired is a sequence number from which on nothing is sealed, with room for any number of tries.
const retired = 1 << 62

// Retire ends the Sealer: every later Seal, also of a caller that runs at the same time, gives ErrLimit. It returns the
// last sequence number used, for a NewSealer with the same key; PacketLimit or more if it was retired before.
func (s *Sealer) Retire() uint64 { return s.seq.Swap(retired) }

// Used is the last sequence number that was used: how many packets the key has sealed.
func (s *Sealer) Used() uint64 { return s.seq.Load() }

// Seal appends the packet that carries inner, an IPv4 packet, to dst and returns the longer dst. It does not allocate if
// dst has room for len(inner)+MaxOverhead bytes and inner for MaxTrailer bytes behind it: these are used as scratch
// space and are restored before Seal returns, so that one large buffer can be sealed piece by piece without a copy.
// dst and inner, with that room, must not overlap. The only error is ErrLimit.
func (s *Sealer) Seal(dst, inner []byte) ([]byte, error) {
	// Used up before it is used, so that no number is ever taken twice.
	seq := s.seq.Add(1)
	if seq > PacketLimit {
		s.seq.Store(retired)
		return dst, ErrLimit
	}

	var head [HeaderSize]byte
	binary.BigEndian.PutUint32(head[0:], s.spi)
	binary.BigEndian.PutUint32(head[4:], uint32(seq))
	// RFC 4106, section 3.1 and RFC 7634, section 2: the IV need only be unique, a counter is the simplest such.
	binary.BigEndian.PutUint64(head[8:], seq)
	dst = append(dst, head[:]...)

	binary.BigEndian.PutUint64(s.aad[4:], seq)
	binary.BigEndian.PutUint64(s.nonce[4:], seq)

	n := len(inner)
	trailer := trailerSize(n)
	if cap(inner)-n < MaxTrailer {
		inner = append(make([]byte, 0, n+MaxTrailer), inner...)
	}
	plain := inner[:n+MaxTrailer]
	saved := [MaxTrailer]byte(plain[n:])
	for i := range trailer - 2 {
		plain[n+i] = byte(i + 1)
	}
	plain[n+trailer-2], plain[n+trailer-1] = byte(trailer-2), nextIPv4
	dst = s.aead.Seal(dst, s.nonce[:], plain[:n+trailer], s.aad[:])
	copy(plain[n:], saved[:])
	return dst, nil
}

// trailerSize is the length of padding, pad length and next header behind n bytes: it ends on a multiple of 4.
func trailerSize(n int) int { return (2-n)&3 + 2 }

// SealedSize is the length of the packet that Seal makes of n bytes.
func SealedSize(n int) int { return HeaderSize + n + trailerSize(n) + ICVSize }
