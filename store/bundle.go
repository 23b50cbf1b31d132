package store

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// Bundle is the authority as a file: its certificate and its private key, PEM. Who has it can let in and shut out hosts.
func (ca CA) Bundle() Secret {
	der, _ := CertDER(ca.Cert)
	return Secret{append(encodePEM(pemCert, der), ca.Key.Bytes...)}
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
		if err := l.Identity.knows(ca); err != nil {
			return err
		}
		if l.Identity.CAKey.Empty() {
			l.Identity.Imported = !l.Identity.Founded()
			l.Identity.CAKey = ca.Key
		}
		return nil
	})
}

// With is the environment's authority with a key that was kept off-line: from a bundle of it.
func (id Identity) With(bundle Secret) (CA, error) {
	ca, err := ParseBundle(id.Environment, bundle)
	if err == nil {
		err = id.knows(ca)
	}
	if err != nil {
		return CA{}, err
	}
	trusted := id.Trusted()
	trusted.Key = ca.Key
	return trusted, nil
}

// knows says whether the authority is the present one of this host's environment.
func (id Identity) knows(ca CA) error {
	have, err1 := CertDER(id.CA)
	der, err2 := CertDER(ca.Cert)
	switch err := errors.Join(err1, err2); {
	case err != nil:
		return fmt.Errorf("certificate authority: %w", err)
	case bytes.Equal(have, der):
		return nil
	case id.believes(der):
		return errors.New("certificate authority: it was replaced by another one: use the file that was exported since")
	}
	return fmt.Errorf("certificate authority: it is that of another environment, not of this host's %q", id.Environment)
}

// RemoveAuthority takes the authority's key away from this host, for it is off-line now. Nothing of it is left in the file.
func (c *Checkpoint) RemoveAuthority() error {
	return c.Forget(func(l *Local) error {
		id := &l.Identity
		if !id.NextKey.Empty() {
			return errors.New("certificate authority: it is being replaced: finish that first, by `meshsec ca replace`")
		}
		id.Founder = id.Founded()
		id.CAKey, id.Imported, id.Exported = Secret{}, false, time.Now().UTC()
		return nil
	})
}
