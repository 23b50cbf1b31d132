package metadata

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"
)

// A token shows that who asks could make a PUT request and read its answer, which a server that is talked into fetching an
// address for somebody else can't. As with Amazon's IMDSv2, whose header names are taken as well.
const (
	tokenHeader = "Metadata-Token"
	ttlHeader   = "Metadata-Token-TTL-Seconds"
	imdsToken   = "X-aws-ec2-metadata-token"
	imdsTTL     = "X-aws-ec2-metadata-token-ttl-seconds"

	maxTTL   = 6 * time.Hour
	macSize  = 16
	timeSize = 8
)

// tokens makes and checks tokens. Nothing is kept of them; an agent that starts anew knows none of the old ones.
type tokens struct{ key [sha256.Size]byte }

func newTokens() tokens {
	var t tokens
	_, _ = rand.Read(t.key[:]) // never fails (crypto/rand)
	return t
}

// make gives a token for an endpoint, by its ID.
func (t tokens) make(endpoint string, until time.Time) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(until.Unix()))
	return base64.RawURLEncoding.EncodeToString(append(b, t.mac(endpoint, b)...))
}

// good tells whether a token is one for this endpoint, and still valid.
func (t tokens) good(token, endpoint string, now time.Time) bool {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimSpace(token))
	if err != nil || len(b) != timeSize+macSize {
		return false
	}
	return hmac.Equal(b[timeSize:], t.mac(endpoint, b[:timeSize])) && now.Unix() < int64(binary.BigEndian.Uint64(b))
}

func (t tokens) mac(endpoint string, until []byte) []byte {
	h := hmac.New(sha256.New, t.key[:])
	_, _ = h.Write(until)
	_, _ = h.Write([]byte(endpoint))
	return h.Sum(nil)[:macSize]
}
