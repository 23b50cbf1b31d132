package handshake

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// How much of a message one and two datagrams carry.
const (
	partLen    = maxDatagram - headerLen
	maxMessage = 2 * partLen
)

func TestSplitAndParse(t *testing.T) {
	key := macKey([]byte("public"))
	for _, n := range []int{1, 100, partLen, partLen + 1, maxMessage, maxMessage + 1} {
		body := bytes.Repeat([]byte{7}, n)
		datagrams := split(header{kind: typeInit, sender: 5, receiver: 6}, body, key)
		if n > maxMessage {
			if datagrams != nil {
				t.Error("a message of more than two datagrams")
			}
			continue
		}
		var got []byte
		for i, d := range datagrams {
			h, part, err := parseDatagram(d, hmac.New(sha256.New, key))
			if err != nil || len(d) > maxDatagram || h != (header{typeInit, byte(i), byte(len(datagrams)), 5, 6}) {
				t.Fatalf("%d bytes: %+v, %v", n, h, err)
			}
			if _, _, err := parseDatagram(d, hmac.New(sha256.New, macKey([]byte("another")))); err != errMAC {
				t.Error("another host's key:", err)
			}
			got = append(got, part...)
		}
		if !bytes.Equal(got, body) {
			t.Errorf("%d bytes became %d", n, len(got))
		}
	}
}

// Datagrams with a good MAC but a header that no one sends.
func TestMalformedHeaders(t *testing.T) {
	key := macKey([]byte("public"))
	for name, change := range map[string]func(d []byte) []byte{
		"type 0":            func(d []byte) []byte { d[0] = 0; return d },
		"type 3":            func(d []byte) []byte { d[0] = 3; return d },
		"version":           func(d []byte) []byte { d[1] = 1; return d },
		"no parts":          func(d []byte) []byte { d[3] = 0; return d },
		"three parts":       func(d []byte) []byte { d[3] = 3; return d },
		"part beyond":       func(d []byte) []byte { d[2] = 1; return d },
		"short first part":  func(d []byte) []byte { d[3] = 2; return d },
		"no body":           func(d []byte) []byte { return d[:headerLen] },
		"shorter than that": func(d []byte) []byte { return d[:3] },
	} {
		d := change(split(header{kind: typeInit}, make([]byte, 50), key)[0])
		if len(d) >= headerLen {
			copy(d[macOffset:], mac(key, d))
		}
		if _, _, err := parseDatagram(d, hmac.New(sha256.New, key)); err != errHeader {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPayloads(t *testing.T) {
	i := initPayload{7, 256, bytes.Repeat([]byte{1}, 1184), []ipsec.Cipher{20, 28, 99}, "alpha", "beta", elsewhere, make([]ppkID, 2)}
	later := append(i.encode(), "fields of a later version"...)
	if got, err := parseInit(later); err != nil || !reflect.DeepEqual(got, i) {
		t.Errorf("%+v, %v", got, err)
	}
	for n := range i.encode() {
		if n == len(i.encode())-1-2*ppkIDSize {
			continue // a whole init of a host without a PPK
		}
		if _, err := parseInit(i.encode()[:n]); err == nil {
			t.Fatalf("init of %d bytes is accepted", n)
		}
	}
	for _, addr := range []string{"192.0.2.1:4500", "[2001:db8::1]:65535"} {
		r := responsePayload{9, 0xffffffff, 28, bytes.Repeat([]byte{2}, 1088), netip.MustParseAddrPort(addr), 300}
		if got, err := parseResponse(append(r.encode(), 1)); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v, %v", got, err)
		}
		for n := range r.encode() {
			if _, err := parseResponse(r.encode()[:n]); err == nil {
				t.Fatalf("response of %d bytes is accepted", n)
			}
		}
	}
	for name, bad := range map[string]initPayload{
		"reserved SPI":     {7, 255, i.kem, nil, "a", "b", elsewhere, nil},
		"generation":       {1 << 63, 256, i.kem, nil, "a", "b", elsewhere, nil},
		"no sender":        {7, 256, i.kem, nil, "", "b", elsewhere, nil},
		"no receiver":      {7, 256, i.kem, nil, "a", "", elsewhere, nil},
		"too many PPKs":    {7, 256, i.kem, nil, "a", "b", elsewhere, make([]ppkID, 5)},
		"too many ciphers": {7, 256, i.kem, make([]ipsec.Cipher, 17), "a", "b", elsewhere, nil},
	} {
		if _, err := parseInit(bad.encode()); err == nil {
			t.Error(name, "is accepted")
		}
	}
}

func TestReassembly(t *testing.T) {
	from := netip.MustParseAddrPort("192.0.2.1:4500")
	one := func(sender uint32, part byte) header { return header{typeInit, part, 2, sender, 0} }
	for _, known := range []bool{true, false} {
		r := newReassembly()
		add := func(now time.Duration, h header, body string) string {
			return string(r.add(now, from, known, h, []byte(body)))
		}
		if got := add(0, header{parts: 1}, "whole"); got != "whole" {
			t.Error(got)
		}
		if add(0, one(1, 0), "ab") != "" || add(1, one(1, 0), "ab") != "" || add(2, one(1, 1), "cd") != "abcd" {
			t.Error("in order, first part doubled")
		}
		if add(0, one(2, 1), "cd") != "" || add(1, one(2, 0), "ab") != "abcd" {
			t.Error("second part first")
		}
		if add(0, one(3, 0), "ab") != "" || add(1, one(4, 1), "cd") != "" || add(1, one(3, 1), "cd") != "" || add(1, one(3, 0), "ab") != "abcd" {
			t.Error("parts of two messages were joined, or the newer did not take the slot")
		}
		if add(0, one(5, 0), "ab") != "" || add(partLife, one(5, 1), "cd") != "" {
			t.Error("a part lives too long")
		}
		if next := r.expire(partLife); next != 2*partLife {
			t.Error("next", next)
		}
		if next := r.expire(2 * partLife); next != never || len(r.peers)+len(r.strangers) != 0 {
			t.Error("parts stay")
		}
	}
	r := newReassembly()
	for i := range 100_000 {
		stranger := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 4500)
		r.add(time.Duration(i), stranger, false, one(1, 0), make([]byte, partLen))
	}
	if len(r.strangers) != maxStrangers {
		t.Errorf("%d slots", len(r.strangers))
	}
}

func TestSeen(t *testing.T) {
	s := newSeen()
	key := func(i int) (k [32]byte) { k[0], k[1], k[2] = byte(i), byte(i>>8), byte(i>>16); return k }
	for i := range 10_000 {
		now := time.Duration(i) * 100 * time.Millisecond
		if s.contains(now, key(i)) {
			t.Fatal("seen before it was added")
		}
		s.add(now, key(i))
		if i >= 600 && !s.contains(now, key(i-599)) {
			t.Fatal("forgotten after less than a minute")
		}
		if i > 1200 && s.contains(now, key(i-1201)) {
			t.Fatal("remembered after more than two minutes")
		}
	}
	for i := range 100_000 {
		s.add(1000*time.Second, key(i))
	}
	if n := len(s.young) + len(s.old); n > 2*maxSeen {
		t.Errorf("%d keys", n)
	}
	if s.contains(5000*time.Second, key(99_999)) || len(s.young)+len(s.old) != 0 {
		t.Error("not forgotten after a long pause")
	}
}
