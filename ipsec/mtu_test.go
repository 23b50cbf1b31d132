package ipsec

import (
	"testing"
)

func TestMTU(t *testing.T) {
	for _, c := range []struct {
		underlay int
		v6       bool
		encap    Encap
		want     int
	}{
		{1500, false, EncapUDP, 1438}, // as measured with a kernel's ESP
		{1500, false, EncapESP, 1446}, // the same
		{1500, true, EncapUDP, 1418},
		{1500, true, EncapESP, 1426},
		{9000, false, EncapUDP, 8938},
		{1400, false, EncapUDP, 1338},
		{576, false, EncapUDP, 514},
		{60, false, EncapUDP, 0},
		{0, true, EncapESP, 0},
	} {
		if got := MTU(c.underlay, c.v6, AES256GCM, c.encap); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

// TestMTUFits builds the packet the other way round: what MTU gives fits, one byte more does not.
func TestMTUFits(t *testing.T) {
	wire := func(inner int, v6 bool, encap Encap) int {
		n := 20
		if v6 {
			n = 40
		}
		if encap == EncapUDP {
			n += 8
		}
		n += 4 + 4 + 8 // SPI, sequence number, IV
		n += inner
		for n++; (inner+2)%4 != 0; inner++ { // pad length, padding
			n++
		}
		return n + 1 + 16 // next header, ICV
	}
	for underlay := 100; underlay < 3000; underlay++ {
		for _, v6 := range []bool{false, true} {
			for _, encap := range []Encap{EncapUDP, EncapESP} {
				mtu := MTU(underlay, v6, ChaCha20Poly1305, encap)
				if wire(mtu, v6, encap) > underlay || wire(mtu+1, v6, encap) <= underlay {
					t.Fatalf("underlay %d, v6 %v, %s: MTU %d makes %d bytes", underlay, v6, encap, mtu, wire(mtu, v6, encap))
				}
			}
		}
	}
}
