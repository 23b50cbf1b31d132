// Package plugin speaks Docker's plugin protocol: the network driver and the IPAM driver, both on one unix socket.
//
// It decodes what dockerd sends, refuses what can't be right, bounds each call, recovers panics and encodes the reply.
// It holds no state of networks or addresses; the Network and IPAM behind it do. It answers Activate, the capabilities
// and the address spaces by itself, so that dockerd, which dials half a second after the plugin's start and gives up
// at thirteen, has its answer before the facts are reached. All other calls wait for SetBackend.
//
//	dockerd ── unix socket ──► sdk handler ──► Server.call ──► Network │ IPAM
//	                            (Activate)      body, IDs, 2 s, panics
package plugin

import (
	"context"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/go-plugins-helpers/network"
	"github.com/docker/go-plugins-helpers/sdk"
	"github.com/sirupsen/logrus"
)

// manifest is the answer to Plugin.Activate, which only dockerds that found the socket by its name ask for.
const manifest = `{"Implements":["NetworkDriver","IpamDriver"]}`

// How long a call may wait for a backend, for etcd and the like. A Swarm's leader asks as soon as the plugin listens, and again only
// after minutes, so with global scope calls wait longer.
const (
	Limit       = 2 * time.Second
	GlobalLimit = 20 * time.Second
)

// lastWord is when a call is answered whatever it is at: what it has to do in this machine's kernel may queue for long behind other
// containers' beginnings, and is let finish. dockerd's own limit is 30 s or none.
const lastWord = 25 * time.Second

// Options are what a Server may be told. The zero value is good.
type Options struct {
	// Scope is that of the network driver, network.LocalScope or network.GlobalScope; empty: local.
	Scope string
	// ConnectivityScope may be global with a local Scope: dockerd then allows the driver in a Swarm. Empty: global.
	ConnectivityScope string
	// Observe is told of each call when it is answered, from the call's goroutine. May be nil.
	Observe func(method string, took time.Duration, err error)
}

// Server answers dockerd on one unix socket. Its methods may be called concurrently.
type Server struct {
	sock  string
	log   *logrus.Entry
	opts  Options
	mux   sdk.Handler
	limit time.Duration // of what a call waits for
	last  time.Duration // of the call

	mu      sync.Mutex
	backend backend
	changed chan struct{} // closed when backend changes

	listener net.Listener
	file     os.FileInfo                 // the socket's file, to know it again
	server   atomic.Pointer[http.Server] // the sdk's; known from the first call on
	calls    sync.WaitGroup              // what backends are still working on
	stop     context.Context             // ends when the server stops
	stopped  context.CancelFunc
}

// New makes a Server for the socket's path sock. Nothing is touched before Listen or Serve.
func New(sock string, log *logrus.Entry, o Options) *Server {
	if o.Scope == "" {
		o.Scope = network.LocalScope
	}
	if o.ConnectivityScope == "" {
		o.ConnectivityScope = network.GlobalScope
	}
	s := &Server{sock: sock, log: log, opts: o, mux: sdk.NewHandler(manifest), limit: Limit, last: lastWord, changed: make(chan struct{})}
	if o.Scope == network.GlobalScope {
		s.limit = GlobalLimit
	}
	s.stop, s.stopped = context.WithCancel(context.Background())
	for _, c := range slices.Concat(s.networkCalls(), s.ipamCalls()) {
		s.mux.HandleFunc("/"+c.method, s.handler(c))
	}
	s.mux.HandleFunc("/", unknown)
	return s
}
