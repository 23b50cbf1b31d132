package metadata

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/meshsec/meshsec/directory"
	"github.com/meshsec/meshsec/quota"
)

// Rate is how many requests a second one container may make, unless Options say otherwise. Twice as many at once.
const Rate = 200

// Options of a Server.
type Options struct {
	Board *directory.Board
	// Age tells how long ago etcd was reached, and whether it is now.
	Age func() (age time.Duration, reached bool)
	// TokenRequired refuses who shows no token.
	TokenRequired bool
	// Rate is how many requests a second one container may make; 0: the constant Rate. Twice as many at once.
	Rate int
}

// What one container, and all together, may have under way, and how long each part of a request may take.
const (
	maxConns, maxConnsOf = 1024, 32
	maxWaits, maxWaitsOf = 768, 16
	maxHeader            = 8 << 10 // bytes
	maxBody              = 4 << 10 // bytes; no request needs one
	readWithin           = 5 * time.Second
	writeWithin          = 10 * time.Second
	idleFor              = time.Minute
)

// Server answers on one address. Methods may be called concurrently.
type Server struct {
	o      Options
	rates  *quota.Rates
	waits  *quota.Places
	tokens tokens
	now    func() time.Time

	slot       chan struct{} // full: a job has it
	big        *quota.Places
	catalogs   cache[*catalog]
	renderings cache[[]byte]

	codes   [600]atomic.Uint64
	refused atomic.Uint64
}

// New returns a Server that answers once Serve is called.
func New(o Options) *Server {
	if o.Rate == 0 {
		o.Rate = Rate
	}
	return &Server{o: o, rates: quota.NewRates(o.Rate), waits: quota.NewPlaces(maxWaits, maxWaitsOf), tokens: newTokens(), now: time.Now,
		slot: make(chan struct{}, 1), big: quota.NewPlaces(maxBig, maxBigOf), catalogs: cache[*catalog]{max: maxCatalogs}, renderings: cache[[]byte]{max: maxRenderings}}
}

// Serve answers until ctx ends, and closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	l = quota.NewPlaces(maxConns, maxConnsOf).Listener(l, func() { s.refused.Add(1) })
	srv := &http.Server{Handler: s, ReadTimeout: readWithin, IdleTimeout: idleFor, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metadata: %w", err)
	}
	return nil
}

// Stats is what a Server has done since its start.
type Stats struct {
	Replies map[int]uint64 // by HTTP status
	Refused uint64         // connections beyond what a container may have
	Waiting int            // requests that wait for a change, now
}

// Stats counts.
func (s *Server) Stats() Stats {
	st := Stats{Replies: map[int]uint64{}, Refused: s.refused.Load(), Waiting: s.waits.Taken()}
	for code := range s.codes {
		if n := s.codes[code].Load(); n > 0 {
			st.Replies[code] = n
		}
	}
	return st
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Set for each answer, because one that waits for a change begins late; a reader that is too slow is cut off.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeWithin))
	at, _ := netip.ParseAddrPort(r.RemoteAddr)
	dir, next := s.o.Board.Now()
	from := dir.Asker(at.Addr().Unmap())
	rated := netip.Addr{} // all strangers together
	if from != nil {
		rated = from.Addr
	}
	switch {
	case !s.rates.Allow(rated, s.now()):
		w.Header().Set("Retry-After", strconv.Itoa(1+int(s.rates.Debt(rated, s.now()).Seconds())))
		s.fail(w, r, http.StatusTooManyRequests, "too many requests of this container, or too much work", nil)
	case from == nil:
		s.fail(w, r, http.StatusForbidden, at.Addr().String()+" is no container of this host on a network of meshsec", nil)
	case r.ContentLength > maxBody || len(r.TransferEncoding) > 0:
		w.Header().Set("Connection", "close") // and with it what is still to come
		s.fail(w, r, http.StatusRequestEntityTooLarge, "no request needs a body", nil)
	case r.Method == http.MethodPut:
		s.giveToken(w, r, from)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD, PUT")
		s.fail(w, r, http.StatusMethodNotAllowed, "use GET", nil)
	case !s.mayAsk(r, from):
		s.fail(w, r, http.StatusUnauthorized, "a good token is missing: PUT /latest/api/token with "+ttlHeader+": 21600, then send it as "+tokenHeader, nil)
	default:
		s.get(w, r, view{dir, from}, next)
	}
}

// mayAsk tells whether a request shows a good token, or needs none.
func (s *Server) mayAsk(r *http.Request, from *directory.Asker) bool {
	for _, name := range []string{tokenHeader, imdsToken} {
		if token := r.Header.Get(name); token != "" {
			return s.tokens.good(token, from.ID, s.now())
		}
	}
	return !s.o.TokenRequired
}
