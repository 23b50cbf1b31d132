package store

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	tokenPrefix   = "meshsec1."
	tokenChecksum = 8       // bytes of SHA-256 after the payload
	tokenMax      = 1 << 16 // characters
	dateFormat    = "2006-01-02 15:04 MST"
)

// Token is all that a further host needs to join an environment. It holds that host's private key: who has it is that
// host. So fmt, JSON and logs give "(token)"; only Encode gives the token itself.
type Token struct {
	Environment string
	HostID      string
	HostName    string   // may be empty
	Endpoints   []string // of etcd; empty if ETCD is to be set
	CA          []byte   // PEM
	Cert        []byte   // PEM
	Key         Secret   // PEM
	// CASince is the time of the authority's word when the token was made: the host believes no older one. Zero: any.
	CASince time.Time
}

type tokenPayload struct {
	Environment string    `json:"env"`
	HostID      string    `json:"id"`
	HostName    string    `json:"name,omitempty"`
	Endpoints   []string  `json:"etcd,omitempty"`
	CA          []byte    `json:"ca"`   // DER
	Cert        []byte    `json:"cert"` // DER
	Key         []byte    `json:"key"`  // DER (PKCS #8)
	CASince     time.Time `json:"ca_since,omitzero"`
}

// NewToken issues the certificate of a further host, with a new random ID. ttl 0: HostTTL.
func (ca CA) NewToken(endpoints []string, hostName string, ttl time.Duration) (Token, error) {
	return ca.NewTokenFor(NewHostID(), endpoints, hostName, ttl)
}

// NewTokenFor issues a certificate and key of a host whose ID is known.
func (ca CA) NewTokenFor(id string, endpoints []string, hostName string, ttl time.Duration) (Token, error) {
	cert, key, err := ca.Issue(id, hostName, ttl)
	if err != nil {
		return Token{}, err
	}
	return Token{
		Environment: ca.Environment, HostID: id, HostName: hostName, Endpoints: endpoints,
		CA: ca.Cert, Cert: cert, Key: Secret{key}, CASince: ca.Since,
	}, nil
}

// Encode gives the token as JOIN takes it, private key included: one line of letters, digits, '-', '_' and '.'. It is
// empty for a Token without certificates.
func (t Token) Encode() string {
	ca, err1 := decodePEM(pemCert, t.CA)
	cert, err2 := decodePEM(pemCert, t.Cert)
	key, err3 := decodePEM(pemKey, t.Key.Bytes)
	if errors.Join(err1, err2, err3) != nil {
		return ""
	}
	payload, err := json.Marshal(tokenPayload{t.Environment, t.HostID, t.HostName, t.Endpoints, ca, cert, key, t.CASince})
	if err != nil {
		return ""
	}
	return sealToken(payload)
}

func sealToken(payload []byte) string {
	sum := sha256.Sum256(payload)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(append(payload, sum[:tokenChecksum]...))
}

const redactedToken = "(token)"

// Format implements fmt.Formatter for every verb.
func (Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedToken) }

// String implements fmt.Stringer, which log formatters ask first.
func (Token) String() string { return redactedToken }

// MarshalText implements encoding.TextMarshaler, which JSON uses as well.
func (Token) MarshalText() ([]byte, error) { return []byte(redactedToken), nil }

// CheckEnvironment says whether the token is for that environment.
func (t Token) CheckEnvironment(environment string) error {
	if t.Environment != environment {
		return fmt.Errorf("token is for environment %q, but this host's ENVIRONMENT is %q", t.Environment, environment)
	}
	return nil
}

// ErrExpired says that a token is whole, but its certificate is not valid at this time.
var ErrExpired = errors.New("certificate not valid now")

// expired is ErrExpired in the words of the case.
type expired string

func (e expired) Error() string      { return string(e) }
func (expired) Is(target error) bool { return target == ErrExpired }

// ParseToken reads a token, or the file that s names. It checks everything that can be checked without etcd; no error
// quotes the token. With ErrExpired the token comes along.
func ParseToken(s string) (Token, error) { return parseToken(s, time.Now()) }

func parseToken(s string, now time.Time) (Token, error) {
	s = strings.TrimSpace(s)
	if !strings.HasPrefix(s, tokenPrefix) && strings.HasPrefix(s, "/") {
		b, err := readSmall(s)
		if err != nil {
			return Token{}, fmt.Errorf("token file: %w", err)
		}
		s = strings.TrimSpace(string(b))
	}
	t, err := decodeToken(s)
	if err != nil {
		return Token{}, fmt.Errorf("token is malformed: %w", err)
	}
	if err := t.check(now); errors.Is(err, ErrExpired) {
		return t, err
	} else if err != nil {
		return Token{}, err
	}
	return t, nil
}

func decodeToken(s string) (Token, error) {
	encoded, ok := strings.CutPrefix(s, tokenPrefix)
	switch {
	case !ok:
		return Token{}, fmt.Errorf("it must start with %q, or be the absolute path of a file", tokenPrefix)
	case len(s) > tokenMax:
		return Token{}, errors.New("it is too long")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(b) <= tokenChecksum {
		return Token{}, errors.New("a part is missing, or it has characters that no token has")
	}
	payload, sum := b[:len(b)-tokenChecksum], b[len(b)-tokenChecksum:]
	if want := sha256.Sum256(payload); !bytes.Equal(sum, want[:tokenChecksum]) {
		return Token{}, errors.New("the checksum is wrong: it was not copied in full")
	}
	var p tokenPayload
	if err := json.Unmarshal(payload, &p); err != nil {
		return Token{}, errors.New("its content is not that of a token")
	}
	if err := errors.Join(CheckName(p.Environment), CheckHostID(p.HostID)); err != nil {
		return Token{}, err
	}
	for _, endpoint := range p.Endpoints {
		if u, err := url.Parse(endpoint); err != nil || u.Scheme == "" || u.Host == "" {
			return Token{}, fmt.Errorf("%.100q is not an etcd endpoint", endpoint)
		}
	}
	return Token{
		Environment: p.Environment, HostID: p.HostID, HostName: p.HostName, Endpoints: p.Endpoints,
		CA: encodePEM(pemCert, p.CA), Cert: encodePEM(pemCert, p.Cert), Key: Secret{encodePEM(pemKey, p.Key)},
		CASince: p.CASince,
	}, nil
}

// check holds the certificate against key, authority, host ID and clock.
func (t Token) check(now time.Time) error {
	cert, _, err := keyPair(t.Cert, t.Key)
	if err != nil {
		return fmt.Errorf("token is malformed: %w", err)
	}
	ca, err := parseCert(t.CA)
	if err != nil {
		return fmt.Errorf("token is malformed: authority: %w", err)
	}
	if len(cert.URIs) != 1 || cert.URIs[0].String() != hostURI(t.Environment, t.HostID).String() {
		return errors.New("token is malformed: the certificate is not that of its host")
	}
	if !ca.IsCA {
		return errors.New("token is malformed: its authority is none")
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	_, err = cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: cert.NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return fmt.Errorf("token is malformed: certificate: %w", err)
	}
	for what, c := range map[string]*x509.Certificate{"certificate": cert, "authority's certificate": ca} {
		if now.After(c.NotAfter) {
			return expired(fmt.Sprintf("token: the %s expired at %s (now: %s): print a new token",
				what, c.NotAfter.UTC().Format(dateFormat), now.UTC().Format(dateFormat)))
		}
		if now.Before(c.NotBefore) {
			return expired(fmt.Sprintf("token: the %s is valid from %s only (now: %s): check this host's clock",
				what, c.NotBefore.UTC().Format(dateFormat), now.UTC().Format(dateFormat)))
		}
	}
	return nil
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, tokenMax+1))
}
