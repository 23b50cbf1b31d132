package store

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"
)

// Identity is who this host is. The zero value: not known yet (HostID is empty).
type Identity struct {
	Environment string
	HostID      string // 16 lower-case hex digits
	HostName    string
	Private     Secret     // X25519 private key of the handshake, 32 bytes
	Cert        []byte     // identity certificate, PEM
	Key         Secret     // its private key, PEM (PKCS #8)
	CA          []byte     // the environment's certificate authority, PEM; while it is replaced, those before it follow
	CAKey       Secret     // the authority's private key, PEM; empty where it is not held
	Router      netip.Addr // router address; zero until claimed
	Endpoints   []string   // of etcd, from the token; empty on a founder
	Since       time.Time
	Exported    time.Time // when the authority was last exported from here; zero: never
	Imported    bool      // the authority was made elsewhere
	Founder     bool      // of the environment, though the authority's key may have been taken away
	CAFact      []byte    // the fact `ca` by which the authority replaced another one; empty: it is the first
	CASince     time.Time // the authority's word was of this time when the token was made; zero: it was the first, or not known
	NextCA      []byte    // of a replacement under way, PEM; empty: none
	NextKey     Secret
	Member      bool // it runs a member of the embedded etcd; a founder without Endpoints does, too
	// EngineAPI is the API version that this host's Docker last told; empty: never told. Containers
	// start at boot before Docker answers questions, and what it can do must be known by then.
	EngineAPI string
}

// FoundIdentity makes the identity of a new environment's first host, with the environment's authority. hostID empty:
// a random one.
func FoundIdentity(environment, hostID, hostName string) (Identity, error) {
	ca, err := NewCA(environment)
	if err != nil {
		return Identity{}, err
	}
	if hostID == "" {
		hostID = NewHostID()
	}
	cert, key, err := ca.Issue(hostID, hostName, 0)
	if err != nil {
		return Identity{}, err
	}
	id := Identity{
		Environment: environment, HostID: hostID, HostName: hostName,
		Cert: cert, Key: Secret{key}, CA: ca.Cert, CAKey: ca.Key, Founder: true,
	}
	if err := id.born(); err != nil {
		return Identity{}, err
	}
	return id, nil
}

// JoinIdentity makes the identity of a host that joins with a token. The host's name is the token's unless hostName
// is given.
func JoinIdentity(t Token, hostName string) (Identity, error) {
	if hostName == "" {
		hostName = t.HostName
	}
	id := Identity{
		Environment: t.Environment, HostID: t.HostID, HostName: hostName,
		Cert: t.Cert, Key: t.Key, CA: t.CA, CASince: t.CASince, Endpoints: t.Endpoints,
	}
	if err := id.born(); err != nil {
		return Identity{}, err
	}
	return id, nil
}

// born gives the identity what every host makes itself: the key of its handshakes, which never leaves it.
func (id *Identity) born() error {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("handshake key: %w", err)
	}
	id.Private = Secret{private.Bytes()}
	id.Since = time.Now().UTC()
	return nil
}

// Public returns the X25519 public key of the host's handshakes, 32 bytes.
func (id Identity) Public() ([]byte, error) {
	private, err := ecdh.X25519().NewPrivateKey(id.Private.Bytes)
	if err != nil {
		return nil, errors.New("handshake key: not a X25519 key")
	}
	return private.PublicKey().Bytes(), nil
}

// Founded says whether the environment began on this host. Checkpoints of the first versions don't say it themselves.
func (id Identity) Founded() bool {
	return id.Founder || !id.CAKey.Empty() && !id.Imported
}

// Authority returns the environment's authority, if this host holds its key.
func (id Identity) Authority() (CA, error) {
	if id.CAKey.Empty() {
		return CA{}, errors.New("this host does not hold the key of the environment's certificate authority: " +
			"use a host that does, such as the first one, or give the file of `meshsec ca export` with --ca-key")
	}
	return id.Trusted(), nil
}

// believes says whether the certificate (DER) is that of an authority that this host believes.
func (id Identity) believes(der []byte) bool {
	list, err := parseCerts(id.CA)
	return err == nil && slices.ContainsFunc(list, func(c *x509.Certificate) bool { return bytes.Equal(c.Raw, der) })
}

// Trusted is what this host knows of the environment's authority. Its key is empty where it is not held.
func (id Identity) Trusted() CA {
	return CA{Environment: id.Environment, Cert: id.CA, Key: id.CAKey, Cross: crossOf(id.CAFact), Since: id.wordSince()}
}

// wordSince is the time of the latest word of the authority that this host knows of; zero: it is the first authority.
func (id Identity) wordSince() time.Time {
	if since := sinceOf(id.CAFact); since.After(id.CASince) {
		return since
	}
	return id.CASince
}

// signer is the key that this host's facts are signed with.
func (id Identity) signer() (ed25519.PublicKey, error) {
	cert, err := parseCert(id.Cert)
	if err != nil {
		return nil, err
	}
	public, ok := cert.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("not Ed25519")
	}
	return public, nil
}

// Expires is when the host's certificate ends.
func (id Identity) Expires() (time.Time, error) {
	cert, err := parseCert(id.Cert)
	if err != nil {
		return time.Time{}, fmt.Errorf("certificate of this host: %w", err)
	}
	return cert.NotAfter, nil
}

// ClientTLS is how this host reaches the environment's own (embedded) etcd: it shows its certificate, and expects the
// authority's signature and ServerName.
func (id Identity) ClientTLS() (*tls.Config, error) {
	return clientTLS(id.CA, id.Cert, id.Key.Bytes, ServerName)
}

// LoadTLS is how an external etcd is reached, from the files that ETCD_CA, ETCD_CERT and ETCD_KEY name. Without a CA the
// system's are trusted; certificate and key may both be empty.
func LoadTLS(caFile, certFile, keyFile string) (*tls.Config, error) {
	if (certFile == "") != (keyFile == "") {
		return nil, errors.New("ETCD_CERT and ETCD_KEY belong together: set both or none")
	}
	var files [3][]byte
	for i, name := range []string{caFile, certFile, keyFile} {
		if name == "" {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("TLS of etcd: %w", err)
		}
		files[i] = b
	}
	return clientTLS(files[0], files[1], files[2], "")
}

func clientTLS(ca, cert, key []byte, serverName string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName}
	if len(ca) > 0 {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(ca) {
			return nil, errors.New("TLS of etcd: no certificate in the CA's PEM")
		}
	}
	if len(cert) > 0 {
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("TLS of etcd: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
		if serverName != "" { // the environment's own, and not those of an operator
			known, err := parseCerts(append(append([]byte{}, cert...), ca...))
			if err != nil {
				return nil, fmt.Errorf("TLS of etcd: %w", err)
			}
			c.Time = func() time.Time { return begun(time.Now(), known...) }
		}
	}
	return c, nil
}
