package metadata

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/meshsec/meshsec/directory"
)

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
	timeout := time.NewTimer(time.Duration(seconds) * time.Second)
	defer timeout.Stop()
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Duration(seconds)*time.Second + readWithin))
	known, given := [sha256.Size]byte{}, r.URL.Query().Has("value")
	if given {
		known = sha256.Sum256([]byte(strings.TrimRight(r.URL.Query().Get("value"), "\n")))
	}
	for first := true; ; first = false {
		now, err := s.digest(r, v, path)
		if err != nil {
			s.failWith(w, r, err)
			return v, false
		}
		if first && !given {
			known = now
		}
		if now != known {
			return v, true
		}
		var changed bool
		v, next, changed = s.change(r, v, next, timeout.C)
		// An answer that comes late has its own time to be written.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(slotWithin + writeWithin))
		if !changed {
			return v, r.Context().Err() == nil // else nobody listens any more, or the agent ends
		}
	}
}

// change returns when something that the asker may see has changed, and its work so far is paid for; changed is false if the
// time is over, the request, or the container.
func (s *Server) change(r *http.Request, v view, next <-chan struct{}, timeout <-chan time.Time) (_ view, _ <-chan struct{}, changed bool) {
	// The version is what to compare: it changes with whatever the container may see, and costs next to nothing.
	version := v.dir.Version(v.from)
	for {
		select {
		case <-next:
		case <-timeout:
			return v, next, false
		case <-r.Context().Done():
			return v, next, false
		}
		for debt := s.rates.Debt(v.from.Addr, s.now()); debt > 0; debt = s.rates.Debt(v.from.Addr, s.now()) {
			select {
			case <-time.After(debt):
			case <-timeout:
				return v, next, false
			case <-r.Context().Done():
				return v, next, false
			}
		}
		var dir *directory.Directory
		dir, next = s.o.Board.Now()
		from := dir.Asker(v.from.Addr)
		if from == nil {
			return v, next, false
		}
		if v = (view{dir, from}); dir.Version(from) != version {
			return v, next, true
		}
	}
}

// digest stands for what a path leads to, as text; of what has parts, for all of it.
func (s *Server) digest(r *http.Request, v view, path []string) (sum [sha256.Size]byte, err error) {
	j := &job{s: s, ctx: r.Context(), view: v, waited: true}
	defer j.done()
	value, _, _ := j.find(path)
	format := formatText
	if slash(value) != "" {
		format = formatJSON
	}
	b, err := j.answer(value, path, format)
	if err != nil {
		return sum, err
	}
	return sha256.Sum256(bytes.TrimRight(b, "\n")), nil
}
