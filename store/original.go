package store

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
)

// originalWithin bounds the look for an original at one address.
const originalWithin = time.Second

// MeetOriginal is asked before a founder's embedded etcd is started. A copy of a founder has an etcd of its own, so the two would not
// meet there. But the files of the etcd tell at which addresses it has served: if one answers there that shows this host's
// certificate, this machine is the copy. Then it leaves its presence in that etcd, so that the original knows, too, and returns
// ErrTwin; host is what is said of this one.
func (c *Checkpoint) MeetOriginal(ctx context.Context, cfg EmbedConfig, host Host, log *logrus.Entry) error {
	for _, addr := range servedAt(cfg.Dir) {
		if slices.Contains(cfg.Addrs, addr) {
			continue
		}
		config, err := c.ClientTLS()
		if err != nil {
			return err
		}
		at := netip.AddrPortFrom(addr, uint16(cfg.ClientPort)).String()
		if serverName(ctx, at, config) != cfg.Name {
			continue
		}
		s, err := Open(Config{Environment: c.Local().Identity.Environment, Endpoints: []string{"https://" + at}, TLS: config, Self: cfg.Name}, c, log)
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		s.SetHost(host)
		ask, cancel := context.WithTimeout(ctx, pingTimeout)
		defer cancel()
		if _, err := s.ping(ask, &lease{}); err != nil { // its lease ends by itself
			log.WithError(err).Warn("the machine with this host's identity was not told")
		}
		return fmt.Errorf("%w: at %s, where this host's etcd was before; neither assigns addresses until one of the two is off, or has an "+
			"identity of its own (its state folder moved away)", ErrTwin, addr)
	}
	return nil
}

// servedAt reads the addresses of an embedded etcd from its certificate; none if there is none yet.
func servedAt(dir string) (addrs []netip.Addr) {
	text, err := os.ReadFile(filepath.Join(dir, "server.pem"))
	if err != nil {
		return nil
	}
	certs, err := parseCerts(text)
	if err != nil || len(certs) == 0 {
		return nil
	}
	for _, ip := range certs[0].IPAddresses {
		if addr, ok := netip.AddrFromSlice(ip); ok {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs
}

// serverName is the common name that a server of the environment shows; empty: none answers.
func serverName(ctx context.Context, at string, config *tls.Config) string {
	ctx, cancel := context.WithTimeout(ctx, originalWithin)
	defer cancel()
	conn, err := (&tls.Dialer{NetDialer: &net.Dialer{}, Config: config}).DialContext(ctx, "tcp", at)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	if certs := conn.(*tls.Conn).ConnectionState().PeerCertificates; len(certs) > 0 {
		return certs[0].Subject.CommonName
	}
	return ""
}
