package store

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
)

// Bundle is the authority as a file: its certificate and its private key, PEM. Who has it can let in and shut out hosts.
func (ca CA) Bundle() Secret {
	return Secret{append(bytes.Clone(ca.Cert), ca.Key.Bytes...)}
}

// ParseBundle reads what Bundle has made. No error quotes it.
func ParseBundle(environment string, bundle Secret) (CA, error) {
	var ca CA
	for rest := bundle.Bytes; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch block.Type {
		case pemCert:
			ca.Cert = encodePEM(pemCert, block.Bytes)
		case pemKey:
			ca.Key = Secret{encodePEM(pemKey, block.Bytes)}
		}
	}
	ca.Environment = environment
	if ca.Cert == nil || ca.Key.Empty() {
		return CA{}, errors.New("certificate authority: the file has not both a certificate and a private key: is it one of `meshsec ca export`?")
	}
	cert, _, err := keyPair(ca.Cert, ca.Key)
	if err != nil {
		return CA{}, fmt.Errorf("certificate authority: %w", err)
	}
	if !cert.IsCA {
		return CA{}, errors.New("certificate authority: the file holds a host's certificate")
	}
	return ca, nil
}

// AddAuthority gives an authority that was exported elsewhere to this host. It must be that of its environment.
func (c *Checkpoint) AddAuthority(ca CA) error {
	return c.Update(func(l *Local) error {
		have, err1 := CertDER(l.Identity.CA)
		der, err2 := CertDER(ca.Cert)
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("certificate authority: %w", err)
		}
		if !bytes.Equal(have, der) {
			return fmt.Errorf("certificate authority: it is that of another environment, not of this host's %q", l.Identity.Environment)
		}
		if l.Identity.CAKey.Empty() {
			l.Identity.CAKey, l.Identity.Imported = ca.Key, true
		}
		return nil
	})
}
