package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/docker/go-plugins-helpers/network"
	"github.com/docker/go-plugins-helpers/sdk"
	"github.com/sirupsen/logrus"
)

// maxBody bounds a request. The largest that dockerd sends, with a port map of hundreds, is some tens of kilobytes.
const maxBody = 1 << 20

// errLost: dockerd retries a call whose connection broke with a reader that is used up, so a retry has no body. Zero
// values must not be made of it.
var errLost = errors.New("request body lost (Docker retried after a plugin restart); please repeat")

// call is one method of the protocol.
type call struct {
	method string
	// once: Docker never repeats this call, whatever the answer (all deletes), so it goes on when the client has gone.
	once bool
	// run decodes the body and carries the call out.
	run func(ctx context.Context, body []byte) (any, error)
}

// handler answers a call's requests.
func (s *Server) handler(c call) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if server, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok {
			s.server.Store(server) // the sdk keeps it to itself, and has no Shutdown
		}
		start := time.Now()
		reply, err := s.answer(w, r, c)
		took := time.Since(start)
		log := s.log.WithFields(logrus.Fields{"method": c.method, "took": took})
		if err != nil {
			log = log.WithError(err)
			reply = network.NewErrorResponse(sentence(err))
		}
		log.Debug("plugin call")
		if s.opts.Observe != nil {
			s.opts.Observe(c.method, took, err)
		}
		// An error goes out with status 500: there dockerd reads Err for both protocols; with 200, IPAM errors have another key.
		sdk.EncodeResponse(w, reply, err != nil)
	}
}

// answer reads the request and runs the call, whose context ends with the limit. The last word is said whatever the backend does.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, c call) (any, error) {
	body, err := s.body(w, r)
	if err != nil {
		return nil, err
	}
	parent := r.Context()
	if c.once {
		parent = context.WithoutCancel(parent)
	}
	ctx, cancel := context.WithTimeout(parent, s.limit)
	done := make(chan result, 1)
	s.calls.Go(func() {
		defer cancel()
		done <- s.guarded(ctx, c, body)
	})
	timer := time.NewTimer(s.last)
	defer timer.Stop()
	select {
	case res := <-done:
		return res.reply, res.err
	case <-timer.C:
		return nil, fmt.Errorf("%s is not done within %v", c.method, s.last)
	}
}

type result struct {
	reply any
	err   error
}

// guarded runs the call and turns a panic into an error: net/http would drop the connection, dockerd would take that for
// an I/O error and retry with an empty body.
func (s *Server) guarded(ctx context.Context, c call, body []byte) (res result) {
	defer func() {
		if p := recover(); p != nil {
			s.log.WithFields(logrus.Fields{"method": c.method, "error": fmt.Sprint(p), "stack": string(debug.Stack())}).Error("panic in a plugin call")
			res = result{err: fmt.Errorf("%s: internal error: %v (the stack is in the plugin's log)", c.method, p)}
		}
	}()
	res.reply, res.err = c.run(ctx, body)
	return res
}

// body reads the request, within the limit and maxBody.
func (s *Server) body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(s.limit)) // not supported by test recorders only
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, fmt.Errorf("request is larger than %d bytes", maxBody)
	}
	if err != nil { // the deadline stays: net/http looks for the rest of the body before it replies
		return nil, fmt.Errorf("read request: %w", err)
	}
	_ = control.SetReadDeadline(time.Time{}) // else it would cancel the request's context later
	return body, nil
}

// decode makes a request of a body. Fields that are not known are passed over, because Docker adds some with each version.
func decode[T any](body []byte) (*T, error) {
	text := strings.TrimSpace(string(body))
	if text == "" {
		return nil, errLost
	}
	if !strings.HasPrefix(text, "{") {
		return nil, fmt.Errorf("request is not a JSON object but %.40q", text)
	}
	req := new(T)
	if err := json.Unmarshal([]byte(text), req); err != nil {
		return nil, fmt.Errorf("request is not what Docker sends: %w", err)
	}
	return req, nil
}

// sentence is what Docker's user reads: one line, the prefix once.
func sentence(err error) string {
	msg := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
	msg = strings.ReplaceAll(msg, context.DeadlineExceeded.Error(), "not done in time")
	if strings.HasPrefix(msg, "meshsec is ") {
		return msg
	}
	return "meshsec: " + strings.ReplaceAll(msg, "meshsec: ", "")
}

// unknown answers a method that is in neither protocol. dockerd takes 404 for "not implemented".
func unknown(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", sdk.DefaultContentTypeV1_1)
	w.WriteHeader(http.StatusNotFound)
	_ = json.NewEncoder(w).Encode(network.NewErrorResponse(fmt.Sprintf("meshsec: unknown method %.80q", r.URL.Path)))
}

// asked makes a call that a backend answers. What can't be decoded waits for nobody.
func asked[T any](s *Server, run func(context.Context, backend, *T) (any, error)) func(context.Context, []byte) (any, error) {
	return func(ctx context.Context, body []byte) (any, error) {
		req, err := decode[T](body)
		if err != nil {
			return nil, err
		}
		b, err := s.ready(ctx)
		if err != nil {
			return nil, err
		}
		return run(ctx, b, req)
	}
}

// answered makes a call that needs no backend, and fails only with SetError's error.
func answered[T any](s *Server, run func(*T) (any, error)) func(context.Context, []byte) (any, error) {
	return func(_ context.Context, body []byte) (any, error) {
		req, err := decode[T](body)
		if err != nil {
			return nil, err
		}
		if b, _ := s.current(); b.err != nil {
			return nil, b.err
		}
		return run(req)
	}
}
