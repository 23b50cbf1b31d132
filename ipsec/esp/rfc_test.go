package esp

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

var transforms = map[string]Transform{"aes": AES256GCM, "chacha": ChaCha20Poly1305}

func testKey() *[KeySize]byte {
	var k [KeySize]byte
	for i := range k {
		k[i] = byte(i * 5)
	}
	return &k
}

func pair(t testing.TB, tr Transform, after uint64) (*Sealer, *Opener) {
	t.Helper()
	s, err := NewSealer(0x12345678, tr, testKey(), after)
	if err != nil {
		t.Fatal(err)
	}
	o, err := NewOpener(0x12345678, tr, testKey(), after)
	if err != nil {
		t.Fatal(err)
	}
	return s, o
}

func aeadOf(t testing.TB, tr Transform) cipher.AEAD {
	t.Helper()
	key := testKey()[:32]
	if tr == ChaCha20Poly1305 {
		a, err := chacha20poly1305.New(key)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// reference is a packet built slowly, straight from the RFCs.
func reference(t testing.TB, tr Transform, seq uint64, inner []byte, pad int, next byte) []byte {
	t.Helper()
	plain := bytes.Clone(inner)
	for i := 1; i <= pad; i++ {
		plain = append(plain, byte(i))
	}
	plain = append(plain, byte(pad), next)
	iv := binary.BigEndian.AppendUint64(nil, seq)
	aad := binary.BigEndian.AppendUint64([]byte{0x12, 0x34, 0x56, 0x78}, seq)
	packet := binary.BigEndian.AppendUint32([]byte{0x12, 0x34, 0x56, 0x78}, uint32(seq))
	packet = append(packet, iv...)
	return aeadOf(t, tr).Seal(packet, append(testKey()[32:36:36], iv...), plain, aad)
}

// RFC 4303 2.4: the padding makes pad length and next header end on a 4-byte boundary; 2.2.1: the high half of the
// sequence number is authenticated, not sent.
func TestSealIsTheReference(t *testing.T) {
	for name, tr := range transforms {
		for _, after := range []uint64{0, 41, 1<<32 - 100} {
			s, o := pair(t, tr, after)
			for n := range 80 {
				inner := bytes.Repeat([]byte{byte(n)}, n)
				got, err := s.Seal(nil, inner)
				if err != nil {
					t.Fatal(err)
				}
				seq := after + 1 + uint64(n)
				want := reference(t, tr, seq, inner, (2-n)&3, 4)
				if !bytes.Equal(got, want) || len(got)%4 != 0 || len(got) != SealedSize(n) || len(got) > n+MaxOverhead {
					t.Fatalf("%s, %d bytes, sequence %d:\n%x\n%x", name, n, seq, got, want)
				}
				if back, err := o.Open(got); err != nil || !bytes.Equal(back, inner) {
					t.Fatalf("%s, %d bytes: %x, %v", name, n, back, err)
				}
			}
		}
	}
}

func TestSealLeavesTheBufferAsItWas(t *testing.T) {
	s, o := pair(t, AES256GCM, 0)
	buf := make([]byte, 300)
	for i := range buf {
		buf[i] = byte(i)
	}
	want := bytes.Clone(buf)
	for at := 0; at+100 <= 295; at++ {
		out := make([]byte, 7, 7+100+MaxOverhead)
		got, err := s.Seal(out, buf[at:at+100])
		if err != nil || !bytes.Equal(buf, want) {
			t.Fatalf("at %d: %v, %x", at, err, buf)
		}
		if &got[0] != &out[0] {
			t.Fatal("dst had room and was not used")
		}
		if inner, err := o.Open(got[7:]); err != nil || !bytes.Equal(inner, want[at:at+100]) {
			t.Fatalf("at %d: %v", at, err)
		}
	}
	// No room behind: a copy is made, and nothing is written out of bounds.
	if _, err := s.Seal(nil, buf[200:300:300]); err != nil || !bytes.Equal(buf, want) {
		t.Fatal(err)
	}
}

// RFC 4303 2.6 and 2.4, on authentic packets.
func TestTrailer(t *testing.T) {
	inner := []byte("sixteen bytes...")
	for _, c := range []struct {
		pad  int
		next byte
		want error
	}{{2, 4, nil}, {0, 4, nil}, {254, 4, nil}, {2, 59, ErrDummy}, {2, 41, ErrNextHeader}, {2, 0, ErrNextHeader}} {
		_, o := pair(t, AES256GCM, 0)
		got, err := o.Open(reference(t, AES256GCM, 1, inner, c.pad, c.next))
		if !errors.Is(err, c.want) || err == nil && !bytes.Equal(got, inner) {
			t.Errorf("pad %d, next header %d: %q, %v", c.pad, c.next, got, err)
		}
	}
	for name, plain := range map[string][]byte{
		"not 1, 2, 3":            {1, 1, 2, 4, 3, 4},
		"zeros":                  {9, 9, 0, 0, 2, 4},
		"longer than the packet": {1, 2, 3, 4},
		"far longer":             {255, 4},
	} {
		if _, err := trim(plain); !errors.Is(err, ErrPadding) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if inner, err := trim([]byte{0, 4}); err != nil || len(inner) != 0 {
		t.Errorf("empty: %v", err)
	}
}

// RFC 4303 3.4.3: a packet that is not authentic changes nothing; neither does anything about it pass.
func TestNothingButTheSealedPacketOpens(t *testing.T) {
	for name, tr := range transforms {
		s, o := pair(t, tr, 0)
		packet, err := s.Seal(nil, []byte("a packet of no importance"))
		if err != nil {
			t.Fatal(err)
		}
		for bit := 32; bit < len(packet)*8; bit++ { // the SPI chooses the SA
			bad := bytes.Clone(packet)
			bad[bit/8] ^= 1 << (bit % 8)
			if _, err := o.Open(bad); err == nil {
				t.Fatalf("%s: bit %d is not authenticated", name, bit)
			}
		}
		for n := range packet {
			if _, err := o.Open(bytes.Clone(packet[:n])); err == nil {
				t.Fatalf("%s: the first %d bytes pass", name, n)
			}
		}
		if _, err := o.Open(append(bytes.Clone(packet), 0)); !errors.Is(err, ErrICV) {
			t.Fatalf("%s: a longer packet: %v", name, err)
		}
		if o.Top() != 0 {
			t.Fatalf("%s: the window has moved to %d", name, o.Top())
		}
		if _, err := o.Open(bytes.Clone(packet)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := o.Open(packet); !errors.Is(err, ErrReplay) {
			t.Fatalf("%s: again: %v", name, err)
		}
	}
}

func TestPacketLimit(t *testing.T) {
	s, o := pair(t, AES256GCM, PacketLimit-1)
	last, err := s.Seal(nil, []byte("last"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Open(last); err != nil || o.Top() != PacketLimit {
		t.Fatalf("%v, top %d", err, o.Top())
	}
	for range 3 {
		if got, err := s.Seal([]byte("dst"), []byte("more")); !errors.Is(err, ErrLimit) || string(got) != "dst" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if n := s.Retire(); n < PacketLimit {
		t.Errorf("a used up SA would start again after %d", n)
	}
}

func TestRetire(t *testing.T) {
	s, o := pair(t, AES256GCM, 0)
	for range 3 {
		if _, err := s.Seal(nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	after := s.Retire()
	if _, err := s.Seal(nil, nil); !errors.Is(err, ErrLimit) || after != 3 {
		t.Fatalf("%v after %d", err, after)
	}
	again, err := NewSealer(0x12345678, AES256GCM, testKey(), after)
	if err != nil {
		t.Fatal(err)
	}
	packet, err := again.Seal(nil, []byte("x"))
	if err != nil || binary.BigEndian.Uint64(packet[8:]) != 4 {
		t.Fatalf("%x, %v", packet, err)
	}
	if _, err := o.Open(packet); err != nil {
		t.Fatal(err)
	}
}

func TestUnknownTransform(t *testing.T) {
	for _, tr := range []Transform{0, 12, 18, 19, 21} {
		if _, err := NewSealer(1, tr, testKey(), 0); err == nil {
			t.Errorf("transform %d sealed", tr)
		}
		if _, err := NewOpener(1, tr, testKey(), 0); err == nil {
			t.Errorf("transform %d opened", tr)
		}
	}
}

// A million packets' worth of loss, disorder and repetition: what is accepted is accepted once, in the right order of
// magnitude, across the edge of 32 bits.
func TestDisorder(t *testing.T) {
	for _, after := range []uint64{0, 1<<32 - 3000} {
		s, o := pair(t, ChaCha20Poly1305, after)
		r := rand.New(rand.NewPCG(1, after))
		var packets [][]byte
		for i := range 3000 {
			p, err := s.Seal(nil, fmt.Append(nil, i))
			if err != nil {
				t.Fatal(err)
			}
			packets = append(packets, p, p)
		}
		r.Shuffle(len(packets), func(i, j int) { packets[i], packets[j] = packets[j], packets[i] })
		seen := map[string]bool{}
		for _, p := range packets {
			inner, err := o.Open(bytes.Clone(p))
			if err != nil {
				continue
			}
			if seen[string(inner)] {
				t.Fatalf("%s twice", inner)
			}
			seen[string(inner)] = true
		}
		if len(seen) != 3000 { // all within the window
			t.Errorf("%d of 3000 packets accepted", len(seen))
		}
	}
}
