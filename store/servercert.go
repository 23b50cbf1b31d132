package store

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
)

type certFiles struct{ ca, cert, key string }

// writeServerCert leaves the server's certificate in files, where etcd wants it; a new one only if there is need. Clients ask
// for ServerName, so without the authority's key a certificate for other addresses does as well.
func writeServerCert(cfg EmbedConfig) (certFiles, error) {
	in := func(name string) string { return filepath.Join(cfg.Dir, name) }
	files := certFiles{ca: in("ca.pem"), cert: in("server.pem"), key: in("server.key")}
	content := map[string][]byte{files.ca: cfg.CA.Cert}
	if !serverCertFits(cfg, files) {
		cert, key := cfg.Cert, cfg.Key.Bytes
		var err error
		switch {
		case !cfg.CA.Key.Empty():
			cert, key, err = cfg.CA.issueServer(cfg.Name, cfg.Addrs)
		case cert == nil:
			err = fmt.Errorf("it is not in %s, and the authority's key to make another is not on this host: restore the folder from a backup", cfg.Dir)
		}
		if err != nil {
			return files, err
		}
		content[files.cert], content[files.key] = slices.Concat(cert, cfg.CA.Cross), key
	}
	for name, content := range content {
		if have, err := os.ReadFile(name); err == nil && bytes.Equal(have, content) {
			continue
		}
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return files, err
		}
	}
	return files, nil
}

// serverCertFits says whether the files hold a certificate of the present authority for these addresses.
func serverCertFits(cfg EmbedConfig, files certFiles) bool {
	certPEM, err1 := os.ReadFile(files.cert)
	keyPEM, err2 := os.ReadFile(files.key)
	if err1 != nil || err2 != nil {
		return false
	}
	cert, _, err := keyPair(certPEM, Secret{keyPEM})
	if err != nil || cert.Subject.CommonName != cfg.Name || !cfg.CA.Key.Empty() && len(cert.IPAddresses) != len(cfg.Addrs) {
		return false
	}
	for i, a := range cfg.Addrs {
		if !cfg.CA.Key.Empty() && !cert.IPAddresses[i].Equal(net.IP(a.AsSlice())) {
			return false
		}
	}
	believed, err := parseCerts(cfg.CA.Cert)
	if err != nil || len(believed) == 0 {
		return false
	}
	if !cfg.CA.Key.Empty() || cfg.Cert != nil {
		believed = believed[:1]
	}
	return signedByAny(cert, believed)
}

// outdated says whether the server shows a certificate of an authority that was replaced, though there is one of the present.
func (cfg EmbedConfig) outdated() bool {
	believed, err := parseCerts(cfg.CA.Cert)
	if err != nil || len(believed) == 0 || cfg.Cert == nil {
		return false
	}
	shownPEM, err1 := os.ReadFile(filepath.Join(cfg.Dir, "server.pem"))
	shown, err2 := parseCert(shownPEM)
	offered, err3 := parseCert(cfg.Cert)
	return errors.Join(err1, err2, err3) == nil && shown.CheckSignatureFrom(believed[0]) != nil && offered.CheckSignatureFrom(believed[0]) == nil
}
