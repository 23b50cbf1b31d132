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
	if r.URL.Query().Get("wait") == "true" {
		var ok bool
		if v, ok = s.wait(w, r, v, path[1:], next); !ok {
			return
		}
	}
	value, there := v.find(path[1:])
	if value == nil {
		s.fail(w, r, http.StatusNotFound, "not found: "+r.URL.Path, there)
		return
	}
	format := formatOf(r.Header.Get("Accept"))
	b, err := render(value, format)
	if err != nil {
		s.fail(w, r, http.StatusInternalServerError, err.Error(), nil)
		return
	}
	w.Header().Set("Content-Type", format+"; charset=utf-8")
	s.send(w, r, http.StatusOK, b)
}

// The bounds of maxWait (seconds).
const (
	defaultWait = 10
	longestWait = 3600
)

// wait returns when what the path leads to is no longer value, as text; without value, when it is no longer what it is
// now; or when maxWait seconds have passed. ok is false if it has answered itself.
func (s *Server) wait(w http.ResponseWriter, r *http.Request, v view, path []string, next <-chan struct{}) (_ view, ok bool) {
	seconds := defaultWait
	if text := r.URL.Query().Get("maxWait"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > longestWait {
			s.fail(w, r, http.StatusBadRequest, fmt.Sprintf("maxWait %q: want 0 to %d seconds", text, longestWait), nil)
			return v, false
		}
		seconds = n
	}
	if !s.waits.Enter(v.from.Addr) {
		w.Header().Set("Retry-After", "1")
		s.fail(w, r, http.StatusTooManyRequests, "too many requests of this container wait for changes", nil)
		return v, false
	}
	defer s.waits.Leave(v.from.Addr)
	known := s.text(v, path)
	if r.URL.Query().Has("value") {
		known = strings.TrimRight(r.URL.Query().Get("value"), "\n")
	}
	timeout := time.NewTimer(time.Duration(seconds) * time.Second)
	defer timeout.Stop()
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Duration(seconds)*time.Second + readWithin))
	// The version is what to compare: it changes with whatever the container may see, and costs next to nothing.
	version := v.dir.Version(v.from)
	for s.text(v, path) == known {
		select {
		case <-next:
		case <-timeout.C:
			return s.begin(w, v), true
		case <-r.Context().Done():
			return v, false // nobody listens any more, or the agent ends
		}
		for {
			var dir *directory.Directory
			dir, next = s.o.Board.Now()
			from := dir.Asker(v.from.Addr)
			if from == nil {
				return s.begin(w, v), true // the container is going
			}
			v = view{dir, from}
			if now := dir.Version(from); now != version {
				version = now
				break
			}
			select {
			case <-next:
				continue
			case <-timeout.C:
			case <-r.Context().Done():
				return v, false
			}
			return s.begin(w, v), true
		}
	}
	return s.begin(w, v), true
}

// begin gives an answer that comes late its time to be written.
func (s *Server) begin(w http.ResponseWriter, v view) view {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeWithin))
	return v
}

// text is what a path leads to; of what has parts, all of it.
func (s *Server) text(v view, path []string) string {
	value, _ := v.find(path)
	format := formatText
	if slash(value) != "" {
		format = formatJSON
	}
	b, err := render(value, format)
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(b), "\n")
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
	if code == http.StatusRequestEntityTooLarge {
		w.Header().Set("Connection", "close") // and with it what is still to come
	}
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
