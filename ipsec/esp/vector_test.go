package esp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func keyOf(t testing.TB, s string) *[KeySize]byte {
	t.Helper()
	return (*[KeySize]byte)(unhex(t, s))
}

// vector is a published packet. Those with 32-bit sequence numbers have an AAD of 8 bytes, which neither Seal nor Open
// makes; they prove key, salt, nonce, layout, padding and trailer.
type vector struct {
	name      string
	transform Transform
	key       string // with salt
	packet    string
	plain     string // with trailer
	inner     string
	trim      error
}

var vectors = []vector{{
	name:      "RFC 7634 appendix A",
	transform: ChaCha20Poly1305,
	key: `808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f
		a0a1a2a3`,
	packet: `01020304 00000005 1011121314151617
		24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6
		14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3
		cbec163fac469b502773f6fb94e664da9165b82829f641e0
		76aaa8266b7fb0f7b11b369907e1ad43`,
	plain: `45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10
		0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
		2425262728292a2b2c2d2e2f3031323334353637
		01020204`,
	inner: `45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10
		0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
		2425262728292a2b2c2d2e2f3031323334353637`,
}, {
	name:      "draft-mcgrew-gcm-test-01, AES-256 transport mode",
	transform: AES256GCM,
	key:       `abbccddef00112233445566778899aababbccddef00112233445566778899aab 11223344`,
	packet: `4a2cbfe3 00000002 0102030405060708
		ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763
		748a637985771d347f0545659f14e99def842d8e
		b335f4eecfdbf831824b4c4915956c96`,
	plain: `4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee000000000
		7002400020bf0000020405b40101040201020201`,
	trim: ErrNextHeader, // 1: the vector is no tunnel-mode packet
}}

func TestPublishedPackets(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			packet := unhex(t, v.packet)
			k, err := newKeyed(SPI(packet), v.transform, keyOf(t, v.key))
			if err != nil {
				t.Fatal(err)
			}
			copy(k.nonce[4:], packet[8:HeaderSize])
			plain, err := k.aead.Open(nil, k.nonce[:], packet[HeaderSize:], packet[:8])
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(plain, unhex(t, v.plain)) {
				t.Errorf("plain text %x", plain)
			}
			if sealed := k.aead.Seal(nil, k.nonce[:], plain, packet[:8]); !bytes.Equal(sealed, packet[HeaderSize:]) {
				t.Errorf("sealed %x", sealed)
			}
			inner, err := trim(plain)
			if !errors.Is(err, v.trim) || !bytes.Equal(inner, unhex(t, v.inner)) {
				t.Errorf("inner %x, %v", inner, err)
			}
			if v.trim == nil && trailerSize(len(inner)) != len(plain)-len(inner) {
				t.Errorf("Seal would take %d bytes of trailer", trailerSize(len(inner)))
			}
		})
	}
}

func TestCipherVectors(t *testing.T) {
	for _, v := range []struct{ name, key, nonce, aad, plain, sealed string }{{
		"GCM specification, test case 16, AES-256",
		"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
		"feedfacedeadbeeffeedfacedeadbeefabaddad2",
		`d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
		 1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39`,
		`522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
		 8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662
		 76fc6ece0f4e1768cddf8853bb2d551b`,
	}} {
		key := append(unhex(t, v.key), unhex(t, v.nonce)[:4]...)
		k, err := newKeyed(0, AES256GCM, (*[KeySize]byte)(key))
		if err != nil {
			t.Fatal(err)
		}
		copy(k.nonce[4:], unhex(t, v.nonce)[4:])
		if got := k.aead.Seal(nil, k.nonce[:], unhex(t, v.plain), unhex(t, v.aad)); !bytes.Equal(got, unhex(t, v.sealed)) {
			t.Errorf("%s: %x", v.name, got)
		}
	}
}
