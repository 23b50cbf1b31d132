package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// doorWait bounds a handshake at the door.
const doorWait = 10 * time.Second

// door is the port at which the other members of the embedded etcd come in. Etcd itself takes every certificate of a server that the
// authority has made, for ever; the door only lets in hosts that are members now, and ends their connections when they are none
// any more. Behind it etcd listens on a socket that only this user reaches.
type door struct {
	inside  string // etcd's socket, in folder
	tls     *tls.Config
	allowed func(host string) bool
	folder  string
	outside []net.Listener

	mu     sync.Mutex
	open   map[net.Conn]string // who is connected
	closed bool
	work   sync.WaitGroup
}

// openDoor listens. The door is answered once serve was called.
func openDoor(cfg EmbedConfig, files certFiles, allowed func(host string) bool) (*door, error) {
	pair, err := tls.LoadX509KeyPair(files.cert, files.key)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "meshsec-etcd-") // for its owner only; outside the data, which may be copied
	if err != nil {
		return nil, err
	}
	d := &door{allowed: allowed, folder: folder, inside: filepath.Join(folder, "peer.sock"), open: map[net.Conn]string{}}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cfg.CA.Cert)
	d.tls = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots,
		MinVersion: tls.VersionTLS13, VerifyConnection: d.verify}
	for _, a := range cfg.Addrs {
		u := serverURL(a, cfg.PeerPort)
		l, err := net.Listen("tcp", u.Host)
		if err != nil {
			d.close()
			return nil, err
		}
		d.outside = append(d.outside, l)
	}
	return d, nil
}

// verify lets in who shows a certificate of a server and is a member.
func (d *door) verify(state tls.ConnectionState) error {
	leaf := state.PeerCertificates[0]
	if err := leaf.VerifyHostname(ServerName); err != nil {
		return errors.New("a host's certificate makes it a client, not a member")
	}
	if !d.allowed(leaf.Subject.CommonName) {
		return fmt.Errorf("host %s is no member", leaf.Subject.CommonName)
	}
	return nil
}

// serve answers until the door is closed.
func (d *door) serve() {
	for _, l := range d.outside {
		d.work.Go(func() {
			for {
				conn, err := l.Accept()
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err != nil { // such as no free descriptor
					time.Sleep(retryPause)
					continue
				}
				d.work.Go(func() { d.carry(conn) })
			}
		})
	}
}

// carry takes one connection through.
func (d *door) carry(conn net.Conn) {
	defer conn.Close()
	if !d.enter(conn, "") {
		return
	}
	defer d.leave(conn)
	ctx, cancel := context.WithTimeout(context.Background(), doorWait)
	defer cancel()
	outer := tls.Server(conn, d.tls)
	if outer.HandshakeContext(ctx) != nil || !d.enter(conn, outer.ConnectionState().PeerCertificates[0].Subject.CommonName) {
		return
	}
	inner, err := net.Dial("unix", d.inside)
	if err != nil {
		return
	}
	defer inner.Close()
	done := make(chan struct{}, 2)
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		done <- struct{}{}
	}
	go pass(outer, inner)
	go pass(inner, outer)
	<-done // etcd's own connections have no use for a half
}

// enter notes who is connected, and says whether they may be.
func (d *door) enter(conn net.Conn, host string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || host != "" && !d.allowed(host) {
		return false
	}
	d.open[conn] = host
	return true
}

func (d *door) leave(conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, conn)
}

// review ends the connections of those that are no members any more.
func (d *door) review() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for conn, host := range d.open {
		if host != "" && !d.allowed(host) {
			conn.Close()
		}
	}
}

// close ends everything and frees the port.
func (d *door) close() {
	d.mu.Lock()
	d.closed = true
	for _, l := range d.outside {
		l.Close()
	}
	for conn := range d.open {
		conn.Close()
	}
	d.mu.Unlock()
	d.work.Wait()
	_ = os.RemoveAll(d.folder)
}
