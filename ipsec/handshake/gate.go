package handshake

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"net/netip"
	"time"
)

// What a host lets into the costly part of a handshake (two Diffie-Hellmans for an init, two more and ML-KEM for its
// answer), in datagrams with a good MAC within a second; an init has two.
const (
	// loadBudget is how many inits may come before this host is under load: from then until a quieter second is over, each
	// must carry a cookie.
	loadBudget = 256
	// sourceBudget is for one address that has proved itself, and strangersBudget for all of them that are no peer's.
	sourceBudget    = 20
	strangersBudget = 2048
	// cookieBudget is how many cookies strangers get. Peers' addresses get as many as they ask for.
	cookieBudget = 8192
	// cookieLife is how long a cookie is used. Its secret is accepted for as long again.
	cookieLife = 2 * time.Minute
)

// gate measures the load of inits and keeps what cookies are made of. A cookie is a MAC over an address; whoever returns
// it receives at that address, so that a flood from invented ones can't get further.
type gate struct {
	rand     io.Reader
	secrets  [2][]byte // the present one and the one before it; nil: none
	turnedAt time.Duration

	second    time.Duration // that the counts are of
	inits     int
	loaded    bool // the second before had too many
	strangers int
	cookies   int
	sources   map[netip.Addr]int
}

func newGate(random io.Reader) gate { return gate{rand: random, sources: make(map[netip.Addr]int)} }

// count notes one datagram of an init and says whether the host is under load.
func (g *gate) count(now time.Duration) bool {
	if now >= g.second+time.Second {
		g.loaded = g.inits > loadBudget && now < g.second+2*time.Second
		g.second, g.inits, g.strangers, g.cookies = now, 0, 0, 0
		clear(g.sources)
	}
	g.inits++
	return g.loaded || g.inits > loadBudget
}

// admit says whether a datagram whose source has proved itself may be looked at.
func (g *gate) admit(from netip.AddrPort, known bool) bool {
	if !known {
		if g.strangers >= strangersBudget {
			return false
		}
		g.strangers++
	}
	g.sources[from.Addr()]++
	return g.sources[from.Addr()] <= sourceBudget
}

// mayAsk says whether a cookie may be sent.
func (g *gate) mayAsk(known bool) bool {
	if known {
		return true
	}
	g.cookies++
	return g.cookies <= cookieBudget
}

// cookie makes the cookie of an address; nil when the random source fails.
func (g *gate) cookie(now time.Duration, from netip.AddrPort) []byte {
	g.turn(now)
	return cookieOf(g.secrets[0], from)
}

// proves says whether datagram d, an init with cookie that came from an address, has a cookie of that address.
func (g *gate) proves(now time.Duration, from netip.AddrPort, d []byte) bool {
	g.turn(now)
	for _, secret := range g.secrets {
		if c := cookieOf(secret, from); c != nil && hmac.Equal(d[headerLen:headerLen+macLen], proof(c, d)) {
			return true
		}
	}
	return false
}

// turn replaces the secret when its time is over.
func (g *gate) turn(now time.Duration) {
	age := now - g.turnedAt
	if g.secrets[0] != nil && age < cookieLife {
		return
	}
	fresh := make([]byte, sha256.Size)
	if _, err := io.ReadFull(g.rand, fresh); err != nil {
		return
	}
	g.secrets[1] = nil
	if age < 2*cookieLife {
		g.secrets[1] = g.secrets[0]
	}
	g.secrets[0], g.turnedAt = fresh, now
}

func cookieOf(secret []byte, from netip.AddrPort) []byte {
	if secret == nil {
		return nil
	}
	h := hmac.New(sha256.New, secret)
	addr := from.Addr().As16()
	h.Write(binary.BigEndian.AppendUint16(addr[:], from.Port()))
	return h.Sum(nil)[:macLen]
}
