package metadata

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meshsec/meshsec/directory"
)

// get answers a path, at once or when it has changed.
func (s *Server) get(w http.ResponseWriter, r *http.Request, v view, next <-chan struct{}) {
	path := strings.FieldsFunc(r.URL.Path, func(c rune) bool { return c == '/' })
	if len(path) == 0 {
		s.reply(w, r, http.StatusOK, strings.Join(versions, "/\n")+"/\n")
		return
	}
	if !slices.Contains(versions, strings.ToLower(path[0])) {
		s.fail(w, r, http.StatusNotFound, "no version "+path[0], versions)
		return
	}
	waits := r.URL.Query().Get("wait") == "true"
	if waits {
		var ok bool
		if v, ok = s.wait(w, r, v, path[1:], next); !ok {
			return
		}
	}
	j := &job{s: s, ctx: r.Context(), view: v, waited: waits}
	defer j.done()
	format := formatOf(r.Header.Get("Accept"))
	value, there, more := j.find(path[1:])
	b, err := j.answer(value, path[1:], format)
	j.leave()
	switch {
	case err != nil:
		s.failWith(w, r, err)
	case value == nil:
		if more > 0 {
			there = append(there, fmt.Sprintf("... and %d more", more))
		}
		s.fail(w, r, http.StatusNotFound, "not found: "+r.URL.Path, there)
	default:
		w.Header().Set("Content-Type", format+"; charset=utf-8")
		s.send(w, r, http.StatusOK, b)
	}
}

// giveToken answers PUT.
func (s *Server) giveToken(w http.ResponseWriter, r *http.Request, from *directory.Asker) {
	path := strings.ToLower(strings.Trim(r.URL.Path, "/"))
	if version, ok := strings.CutSuffix(path, "/api/token"); !ok || !slices.Contains(versions, version) {
		s.fail(w, r, http.StatusNotFound, "nothing to PUT at "+r.URL.Path, []string{"latest/api/token"})
		return
	}
	if r.Header.Get("X-Forwarded-For") != "" { // a proxy that anybody may use
		s.fail(w, r, http.StatusForbidden, "no tokens for requests that were passed on", nil)
		return
	}
	text := r.Header.Get(ttlHeader)
	if text == "" {
		text = r.Header.Get(imdsTTL)
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > int(maxTTL.Seconds()) {
		s.fail(w, r, http.StatusBadRequest, fmt.Sprintf("%s %q: want 1 to %d seconds", ttlHeader, text, int(maxTTL.Seconds())), nil)
		return
	}
	w.Header().Set(ttlHeader, text)
	s.reply(w, r, http.StatusOK, s.tokens.make(from.ID, s.now().Add(time.Duration(n)*time.Second)))
}

// failWith says why there is no answer, and when there may be one.
func (s *Server) failWith(w http.ResponseWriter, r *http.Request, err error) {
	code := statusOf(err)
	if code != http.StatusRequestEntityTooLarge {
		w.Header().Set("Retry-After", "1")
	}
	s.fail(w, r, code, err.Error(), nil)
}

// fail says what is wrong, and what there is instead.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, code int, message string, there []string) {
	format := formatOf(r.Header.Get("Accept"))
	body := node{"code": code, "message": message}
	if there != nil {
		body["there"] = there
	}
	b, err := render(body, format)
	if format == formatText || err != nil {
		b = []byte(message + "\n")
		if len(there) > 0 {
			b = append(b, "there is:\n"+strings.Join(there, "\n")+"\n"...)
		}
	}
	w.Header().Set("Content-Type", format+"; charset=utf-8")
	s.send(w, r, code, b)
}

func (s *Server) reply(w http.ResponseWriter, r *http.Request, code int, text string) {
	w.Header().Set("Content-Type", formatText+"; charset=utf-8")
	s.send(w, r, code, []byte(text))
}

// send answers, with how old the facts are.
func (s *Server) send(w http.ResponseWriter, r *http.Request, code int, b []byte) {
	age, _ := s.o.Age()
	dir, _ := s.o.Board.Now()
	h := w.Header()
	h.Set("Meshsec-Age", strconv.Itoa(int(age.Seconds())))
	h.Set("Meshsec-Revision", strconv.FormatInt(dir.Revision(), 10))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	s.codes[code].Add(1)
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b)
	}
}
