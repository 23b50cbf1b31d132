package store

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
)

type certFiles struct{ ca, cert, key string }

// writeServerCert leaves the server's certificate in files, where etcd wants it; a new one only if there is need.
func writeServerCert(cfg EmbedConfig) (certFiles, error) {
	in := func(name string) string { return filepath.Join(cfg.Dir, name) }
	files := certFiles{ca: in("ca.pem"), cert: in("server.pem"), key: in("server.key")}
	if serverCertFits(cfg, files) {
		return files, nil
	}
	cert, key, err := cfg.CA.issueServer(cfg.Name, cfg.Addrs)
	if err != nil {
		return files, err
	}
	for name, content := range map[string][]byte{files.ca: cfg.CA.Cert, files.cert: cert, files.key: key} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return files, err
		}
	}
	return files, nil
}

// serverCertFits says whether the files hold a certificate of this authority for these addresses.
func serverCertFits(cfg EmbedConfig, files certFiles) bool {
	ca, err1 := os.ReadFile(files.ca)
	certPEM, err2 := os.ReadFile(files.cert)
	keyPEM, err3 := os.ReadFile(files.key)
	if err1 != nil || err2 != nil || err3 != nil || !bytes.Equal(ca, cfg.CA.Cert) {
		return false
	}
	cert, _, err := keyPair(certPEM, Secret{keyPEM})
	if err != nil || cert.Subject.CommonName != cfg.Name || len(cert.IPAddresses) != len(cfg.Addrs) {
		return false
	}
	for i, a := range cfg.Addrs {
		if !cert.IPAddresses[i].Equal(net.IP(a.AsSlice())) {
			return false
		}
	}
	authority, err := parseCert(cfg.CA.Cert)
	return err == nil && cert.CheckSignatureFrom(authority) == nil
}
