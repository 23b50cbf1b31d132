package store

import (
	"crypto/x509"
	"maps"
	"slices"
	"time"
)

// Replaced says whether an authority before the present one is still believed, and which hosts, by name, have no certificate of
// the present one.
func Replaced(id Identity, snap *Snapshot) (late []string, replaced bool) {
	believed, err := parseCerts(id.CA)
	if err != nil || len(believed) < 2 {
		return nil, false
	}
	return notOf(believed[0], snap), true
}

// notOf names the hosts whose certificates are not of the authority.
func notOf(authority *x509.Certificate, snap *Snapshot) []string {
	var late []string
	for _, id := range slices.Sorted(maps.Keys(snap.Hosts)) {
		needed := [][]byte{snap.Hosts[id].Cert}
		if der, ok := snap.Servers[id]; ok && snap.IsMember(id) {
			needed = append(needed, der)
		}
		if slices.ContainsFunc(needed, func(der []byte) bool {
			cert, err := x509.ParseCertificate(der)
			return err != nil || cert.CheckSignatureFrom(authority) != nil
		}) {
			late = append(late, snap.HostName(id))
		}
	}
	return late
}

// Outdated says, for people, why nobody believes this host any more: it was away while the authority was replaced and the
// old one ended. Empty: it is believed.
func (id Identity) Outdated() string {
	cert, err := parseCert(id.Cert)
	believed, err2 := parseCerts(id.CA)
	if err != nil || err2 != nil || signedByAny(cert, believed) {
		return ""
	}
	return "this host's certificate is of an authority that was replaced: set JOIN to a token from `meshsec token --for " + id.HostID +
		"` on a host that holds the new one"
}

// FirstEnd is which host's certificate ends first, and when. Hosts whose certificates can't be read don't count.
func FirstEnd(snap *Snapshot) (host string, ends time.Time) {
	for _, id := range slices.Sorted(maps.Keys(snap.Hosts)) {
		cert, err := x509.ParseCertificate(snap.Hosts[id].Cert)
		if err == nil && (host == "" || cert.NotAfter.Before(ends)) {
			host, ends = id, cert.NotAfter
		}
	}
	return host, ends
}
