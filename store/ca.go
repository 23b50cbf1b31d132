package store

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"time"
)

// How long certificates live. They start an hour early, for clocks that are a little behind.
const (
	CATTL   = 10 * 365 * 24 * time.Hour
	HostTTL = 365 * 24 * time.Hour

	clockSlack = time.Hour
)

// ServerName is the name in the certificate of the embedded etcd server. Clients ask for it whatever the server's
// address is, so addresses may change.
const ServerName = "etcd.meshsec"

// CA is the certificate authority of an environment: what lets hosts in. Ed25519 throughout (RFC 8410).
type CA struct {
	Environment string
	Cert        []byte // PEM; while it is replaced, those before it follow, for they are still believed
	Key         Secret // PEM (PKCS #8)
	// Cross are its certificates by the authorities before it, PEM: what a server shows to those who know only an older one.
	Cross []byte
	Since time.Time // of its latest word about itself, which an older one does not undo; zero: it is the first authority
}

// NewCA makes the authority of a new environment.
func NewCA(environment string) (CA, error) {
	if err := CheckName(environment); err != nil {
		return CA{}, fmt.Errorf("environment: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "meshsec authority of " + environment},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	cert, key, err := sign(template, nil, nil, CATTL)
	if err != nil {
		return CA{}, fmt.Errorf("certificate authority: %w", err)
	}
	return CA{Environment: environment, Cert: cert, Key: Secret{key}}, nil
}

// Issue makes a host's certificate and private key: the ID as common name, meshsec://<environment>/<id> as URI. It
// serves to reach etcd as a client, and as the host's identity. ttl 0: HostTTL; never beyond the authority's own end.
func (ca CA) Issue(hostID, name string, ttl time.Duration) (certPEM, keyPEM []byte, err error) {
	if err := CheckHostID(hostID); err != nil {
		return nil, nil, err
	}
	template := hostTemplate(ca.Environment, hostID, name)
	return ca.issue(template, ttl)
}

// issueServer makes the certificate of an embedded etcd server, which is a client towards other servers, too. It lives as
// long as the authority: the server may run for years.
func (ca CA) issueServer(hostID string, addrs []netip.Addr) (certPEM, keyPEM []byte, err error) {
	template := hostTemplate(ca.Environment, hostID, "")
	template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	template.DNSNames = []string{ServerName}
	for _, a := range addrs {
		template.IPAddresses = append(template.IPAddresses, net.IP(a.AsSlice()))
	}
	return ca.issue(template, CATTL)
}

func (ca CA) issue(template *x509.Certificate, ttl time.Duration) (certPEM, keyPEM []byte, err error) {
	parent, key, err := keyPair(ca.Cert, ca.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate authority: %w", err)
	}
	if ttl <= 0 {
		ttl = HostTTL
	}
	certPEM, keyPEM, err = sign(template, parent, key, min(ttl, time.Until(parent.NotAfter)))
	if err != nil {
		return nil, nil, fmt.Errorf("certificate: %w", err)
	}
	return certPEM, keyPEM, nil
}

func hostTemplate(environment, hostID, name string) *x509.Certificate {
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: hostID},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{hostURI(environment, hostID)},
	}
	if name != "" {
		t.Subject.OrganizationalUnit = []string{name}
	}
	return t
}

func hostURI(environment, hostID string) *url.URL {
	return &url.URL{Scheme: "meshsec", Host: environment, Path: "/" + hostID}
}

// sign makes a key and a certificate for it, signed by parent, or by itself without one.
func sign(template, parent *x509.Certificate, signer crypto.Signer, ttl time.Duration) (certPEM, keyPEM []byte, err error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if parent == nil {
		parent, signer = template, private
	}
	der, err := certify(template, parent, public, signer, ttl)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return encodePEM(pemCert, der), encodePEM(pemKey, secret), nil
}

// certify makes a certificate for a key, in DER.
func certify(template, parent *x509.Certificate, public ed25519.PublicKey, signer crypto.Signer, ttl time.Duration) (der []byte, err error) {
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, err
	}
	now := time.Now()
	template.NotBefore, template.NotAfter = now.Add(-clockSlack), now.Add(ttl)
	return x509.CreateCertificate(rand.Reader, template, parent, public, signer)
}

const (
	pemCert = "CERTIFICATE"
	pemKey  = "PRIVATE KEY"
)

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func decodePEM(kind string, b []byte) ([]byte, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("no PEM block %q", kind)
	}
	return block.Bytes, nil
}

// CertDER returns the certificate in a PEM file as DER, as the facts hold it.
func CertDER(certPEM []byte) ([]byte, error) { return decodePEM(pemCert, certPEM) }

// CertPEM is the reverse of CertDER.
func CertPEM(der []byte) []byte { return encodePEM(pemCert, der) }

// parseCerts reads all certificates of a PEM file.
func parseCerts(pems []byte) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	for {
		var block *pem.Block
		if block, pems = pem.Decode(pems); block == nil {
			return list, nil
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		list = append(list, cert)
	}
}

func parseCert(certPEM []byte) (*x509.Certificate, error) {
	der, err := CertDER(certPEM)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// keyPair reads a certificate and its private key, and checks that they belong together.
func keyPair(certPEM []byte, keyPEM Secret) (*x509.Certificate, crypto.Signer, error) {
	cert, err := parseCert(certPEM)
	if err != nil {
		return nil, nil, err
	}
	der, err := decodePEM(pemKey, keyPEM.Bytes)
	if err != nil {
		return nil, nil, errors.New("no private key")
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, nil, errors.New("unreadable private key") // the cause might quote the key
	}
	signer, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, nil, errors.New("the private key is not Ed25519")
	}
	if !signer.Public().(ed25519.PublicKey).Equal(cert.PublicKey) {
		return nil, nil, errors.New("the private key is not that of the certificate")
	}
	return cert, signer, nil
}
