package handshake

import (
	"crypto/cipher"
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// cookieSize is the body of a cookie message in bytes.
const cookieSize = chacha20poly1305.NonceSizeX + macLen + chacha20poly1305.Overhead

// cookieCipher seals cookies from the owner of public: only who knows that host can read them. Nonces are random.
func cookieCipher(public []byte) (cipher.AEAD, error) {
	h := sha256.New()
	h.Write([]byte("meshsec cookie"))
	h.Write(public)
	return chacha20poly1305.NewX(h.Sum(nil))
}

// ask answers an init with a cookie for its source instead of a response.
func (m *Machine) ask(now time.Duration, from netip.AddrPort, h header) []Output {
	cookie := m.gate.cookie(now, from)
	d := make([]byte, headerLen+chacha20poly1305.NonceSizeX, headerLen+cookieSize)
	header{kind: typeCookie, parts: 1, receiver: h.sender}.put(d)
	nonce := d[headerLen:]
	if _, err := io.ReadFull(m.rand, nonce); err != nil || cookie == nil {
		return nil
	}
	return []Output{Send{from, m.cookies.Seal(d, nonce, cookie, d[:macOffset])}}
}

// receiveCookie takes the answer of a host that wants proof of this host's address: the next init carries it. It goes out
// at once, unless the one that was answered had a cookie already.
func (m *Machine) receiveCookie(now time.Duration, d []byte) []Output {
	h, err := parseHeader(d)
	p := m.inits[h.receiver]
	if err != nil || len(d) != headerLen+cookieSize || p == nil {
		m.drops["late-cookie"]++
		return nil
	}
	nonce, sealed := d[headerLen:headerLen+chacha20poly1305.NonceSizeX], d[headerLen+chacha20poly1305.NonceSizeX:]
	aead, err := cookieCipher(p.Public[:])
	if err != nil {
		p.note = fmt.Sprintf("no cookie can be read: %v", err)
		return nil
	}
	cookie, err := aead.Open(nil, nonce, sealed, d[:macOffset])
	if err != nil {
		m.drops["unopened"]++
		return nil
	}
	if p.cookie == nil || now >= p.cookieUntil {
		p.attempts = max(p.attempts-1, 0) // news of addresses may have begun the count anew since the init
		p.startAt = now
	}
	p.cookie, p.cookieUntil = cookie, now+cookieLife
	return nil
}
