package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Source supplies the views. Its methods are called concurrently and answer without waiting for another host, but for
// Token and RemoveHost, which may write to etcd.
type Source interface {
	Status() Status
	Hosts() []Host
	Peers() []Peer
	Networks() []Network
	Endpoints() []Endpoint
	Blocks() []Block
	Version() string
	// DNS explains what a container of this host (by name, ID or address; empty: any) is answered about a name.
	DNS(name, kind, from string) (DNS, error)
	// Token issues an identity for a host.
	Token(ctx context.Context, want Token) (string, error)
	// RemoveHost shuts a host out of the environment for good, by its name or ID, and returns its ID. ca is the authority with
	// its key where this host does not hold it.
	RemoveHost(ctx context.Context, ref, ca string) (string, error)
	// Rekey makes new keys due with every peer and names those peers.
	Rekey() ([]string, error)
	// RecoverEtcd makes an etcd of one member out of this host's, where so many are lost, named by their hosts, that the others can
	// decide nothing.
	RecoverEtcd(ctx context.Context, lost []string) error
	AuthoritySource
}

// Listen makes the socket at path, readable and writable by root only. A stale socket file is replaced; a live one is
// an error: two agents on a host.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("control socket %s: another meshsec agent runs on this host", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return l, nil
}

// Serve answers on l until ctx ends.
func Serve(ctx context.Context, l net.Listener, src Source) error {
	srv := &http.Server{Handler: Handler(src), ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = srv.Shutdown(end)
	})
	defer stop()
	if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// Handler gives the views under /v1/, as JSON.
func Handler(src Source) http.Handler {
	mux := http.NewServeMux()
	view(mux, "status", src.Status)
	view(mux, "hosts", src.Hosts)
	view(mux, "peers", src.Peers)
	view(mux, "networks", src.Networks)
	view(mux, "endpoints", src.Endpoints)
	view(mux, "blocks", src.Blocks)
	view(mux, "version", src.Version)
	mux.HandleFunc("GET /v1/dns", func(w http.ResponseWriter, r *http.Request) {
		d, err := src.DNS(r.FormValue("name"), r.FormValue("type"), r.FormValue("from"))
		if err != nil {
			reply(w, http.StatusBadRequest, failure{err.Error()})
			return
		}
		reply(w, http.StatusOK, d)
	})
	mux.HandleFunc("POST /v1/token", func(w http.ResponseWriter, r *http.Request) {
		ttl, err := time.ParseDuration(orZero(r.FormValue("ttl")))
		if err != nil || ttl < 0 {
			reply(w, http.StatusBadRequest, failure{fmt.Sprintf("ttl %q: want a duration such as 720h", r.FormValue("ttl"))})
			return
		}
		token, err := src.Token(r.Context(), Token{Name: r.FormValue("name"), TTL: ttl, Host: r.FormValue("host"), CA: r.FormValue("ca")})
		answer(w, token, err)
	})
	mux.HandleFunc("POST /v1/host/rm", func(w http.ResponseWriter, r *http.Request) {
		id, err := src.RemoveHost(r.Context(), r.FormValue("host"), r.FormValue("ca"))
		answer(w, id, err)
	})
	handleAuthority(mux, src)
	mux.HandleFunc("POST /v1/rekey", func(w http.ResponseWriter, _ *http.Request) {
		peers, err := src.Rekey()
		answer(w, peers, err)
	})
	mux.HandleFunc("POST /v1/etcd/recover", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm() // what is not there is refused
		answer(w, "", src.RecoverEtcd(r.Context(), r.Form["lost"]))
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusNotFound, failure{fmt.Sprintf("this agent does not know %s %s; is it older than the command?", r.Method, r.URL.Path)})
	})
	return mux
}

type failure struct {
	Error string `json:"error"`
}

func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		reply(w, http.StatusConflict, failure{err.Error()})
		return
	}
	reply(w, http.StatusOK, v)
}

func orZero(s string) string {
	if s == "" {
		return "0s"
	}
	return s
}

func view[T any](mux *http.ServeMux, name string, get func() T) {
	mux.HandleFunc("GET /v1/"+name, func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, get()) })
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}
