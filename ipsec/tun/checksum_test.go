package tun

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// slowSum is RFC 1071 word by word, in network order.
func slowSum(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		s += w
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// networkOrder turns a folded sum into the number that it is in a packet.
func networkOrder(v uint16) uint16 {
	var b [2]byte
	binary.LittleEndian.PutUint16(b[:], v)
	return binary.BigEndian.Uint16(b[:])
}

// sameSum: zero and all ones are the same number in one's complement.
func sameSum(a, b uint16) bool { return a == b || a == 0 && b == 0xffff || a == 0xffff && b == 0 }

func TestSumAgainstOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 700 {
		for _, fill := range []int{-1, 0, 0xff} {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(fill)
				if fill < 0 {
					b[i] = byte(r.Uint32())
				}
			}
			if got, want := networkOrder(fold(sum(b, 0))), slowSum(b); !sameSum(got, want) {
				t.Fatalf("%d bytes: %#04x, want %#04x", n, got, want)
			}
			// In two parts, the first of even length.
			at := r.IntN(n/2+1) * 2
			if got := fold(sum(b[min(at, n):], sum(b[:min(at, n)], 0))); !sameSum(got, fold(sum(b, 0))) {
				t.Fatalf("%d bytes in two parts: %#04x", n, got)
			}
		}
	}
}

// The example of RFC 1071, section 3.
func TestRFC1071_3(t *testing.T) {
	if got := networkOrder(fold(sum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}, 0))); got != 0xddf2 {
		t.Errorf("%#04x", got)
	}
}

func TestFold(t *testing.T) {
	for in, want := range map[uint64]uint16{0: 0, 1: 1, 0xffff: 0xffff, 0x10000: 1, 1<<64 - 1: 0xffff, 1<<63 + 1: 0x8001, 0xffffffff0001: 1} {
		if got := fold(in); !sameSum(got, want) {
			t.Errorf("%#x: %#04x, want %#04x", in, got, want)
		}
	}
}

// What the kernel leaves open is finished so that a receiver finds it right.
func TestFinish(t *testing.T) {
	const udp = 17
	for n := range 50 {
		ip := testIPv4(udp, append([]byte{0, 53, 0, 53, 0, byte(8 + n), 0, 0}, bytes.Repeat([]byte{7}, n)...))
		putSum(ip[ipSize+6:], pseudo(ip, udp, len(ip)-ipSize))
		if !finish(vnet{flags: needsCsum, csumStart: ipSize, csumOffset: 6}, ip) {
			t.Fatal("refused")
		}
		if got := fold(sum(ip[ipSize:], pseudo(ip, udp, len(ip)-ipSize))); got != 0xffff {
			t.Errorf("%d bytes: %#04x", n, got)
		}
	}
	for _, h := range []vnet{{csumStart: 19, csumOffset: 0}, {csumStart: 20}, {csumStart: 65535, csumOffset: 65535}, {csumOffset: 19}, {csumOffset: 65535}} {
		if b := make([]byte, 20); finish(h, b[:20:20]) && h.csumStart+h.csumOffset > 18 {
			t.Errorf("%+v is outside the packet", h)
		}
	}
	// A checksum that comes out as zero is sent as all ones (RFC 768).
	zero := []byte{0xff, 0xff, 0, 0}
	if finish(vnet{csumStart: 0, csumOffset: 2}, zero); zero[2] != 0xff || zero[3] != 0xff {
		t.Errorf("%x", zero)
	}
}

func TestVnet(t *testing.T) {
	h := vnet{flags: 1, gsoType: 2, headerLen: 0x304, gsoSize: 0x506, csumStart: 0x708, csumOffset: 0x90a}
	var b [vnetSize]byte
	h.put(b[:])
	if parseVnet(b[:]) != h {
		t.Errorf("%+v", parseVnet(b[:]))
	}
}

func BenchmarkSum(b *testing.B) {
	data := make([]byte, 1400)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		sum(data, 0)
	}
}
