package plugin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/engine"
)

// step is a recorded call.
type step struct {
	line     int
	Time     string          `json:"t"` // of day; texts sort as times do
	Command  string          `json:"cmd"`
	Method   string          `json:"m"`
	Request  json.RawMessage `json:"req"`
	Response json.RawMessage `json:"resp"`
}

func steps(t *testing.T, path string) []step {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []step
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		s := step{line: n}
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatalf("%s:%d: %v", path, n, err)
		}
		out = append(out, s)
	}
	return out
}

// traces are the names of all recordings.
func traces(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("testdata/traces/*.jsonl")
	if err != nil || len(files) != 26 {
		t.Fatalf("traces: %v %v", files, err)
	}
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".jsonl"))
	}
	return names
}

// TestReplay plays what real engines were recorded to send, call by call, to the whole plugin: each call once, then each
// call twice (invariant 8: calls are idempotent). In the end nothing is left of the networks that were removed.
func TestReplay(t *testing.T) {
	var all []replay
	for _, trace := range traces(t) {
		for times := range 2 {
			all = append(all, replay{trace: trace, name: fmt.Sprint(times + 1), how: func(int, string) manner { return manner{again: times == 1} }})
		}
	}
	playAll(t, all)
}

// TestReplayNamedInterface plays the trace in which a user asks for an interface's name to an engine that honours it. In
// TestReplay the engine has no API, so the plugin can't know, and refuses the option.
func TestReplayNamedInterface(t *testing.T) {
	c := startCluster(t)
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Api-Version", engine.NamesInterfaces.String())
		if req.URL.Path != "/_ping" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	c.engine = engine.New(socket)
	crash := func(_ int, method string) manner { return manner{again: true, crash: changes(method)} }
	playIn(t, c, []replay{{"29-legacy-join", "each", crash}})
}

// replay is a trace and the manner in which its calls are made, by their number and method.
type replay struct {
	trace, name string
	how         func(n int, method string) manner
}

// manner is how a call is made.
type manner struct {
	again bool // twice
	crash bool // the plugin is killed after the first time
}

func (m manner) times() int {
	if m.again {
		return 2
	}
	return 1
}

// playAll plays traces, each to a plugin in an environment of its own, some at the same time: most of it is waiting.
func playAll(t *testing.T, all []replay) {
	t.Helper()
	playIn(t, startCluster(t), all)
}

func playIn(t *testing.T, c cluster, all []replay) {
	t.Helper()
	var group errgroup.Group
	group.SetLimit(8)
	for _, p := range all {
		group.Go(func() error {
			t.Run(p.trace+"/"+p.name, func(t *testing.T) { p.play(t, c.host(t, p.trace+"-"+p.name)) })
			return nil
		})
	}
	_ = group.Wait()
}

func (p replay) play(t *testing.T, r *rig) {
	m := newModel()
	m.naming = r.engine != nil
	command, calls := "", 0
	for _, s := range steps(t, filepath.Join("testdata", "traces", p.trace+".jsonl")) {
		if s.Command != "" {
			command = s.Command
		}
		if s.Method == "" {
			continue
		}
		if err := m.play(t, r, s, p.how(calls, s.Method)); err != nil {
			t.Fatalf("line %d, after %q: %v", s.line, command, err)
		}
		calls++
	}
	r.until(t, "after the trace", func() string { return m.left(r) })
}

// play makes one call, in the manner that is said.
func (m *model) play(t *testing.T, r *rig, s step, how manner) error {
	t.Helper()
	req, err := parse(s.Request)
	if err != nil {
		return err
	}
	resp, err := parse(s.Response)
	if err != nil {
		return err
	}
	body := s.Request
	if len(body) > 0 && string(body) != "null" {
		raw := map[string]any{}
		if err := json.Unmarshal(body, &raw); err != nil {
			return err
		}
		m.rewrite(s.Method, req, resp, raw)
		if body, err = json.Marshal(raw); err != nil {
			return err
		}
	}
	want := m.expect(s.Method, req, resp)
	var first fields
	for i := range how.times() {
		status, text, errText := r.ask(t, s.Method, string(body))
		if i == 0 && how.crash {
			r.crash(t)
		}
		reply, err := parse(json.RawMessage(text))
		switch ok := status == http.StatusOK; {
		case err != nil:
			return fmt.Errorf("%s: reply %s: %w", s.Method, text, err)
		case want == succeeds && !ok, want == fails && ok:
			return fmt.Errorf("%s, time %d: %s: %d %s %s", s.Method, i+1, body, status, text, errText)
		case want != succeeds:
			continue
		}
		if err := shaped(s.Method, reply, text); err != nil {
			return fmt.Errorf("%s, time %d: %w", s.Method, i+1, err)
		}
		if err := m.nameIn(s.Method, req, text); err != nil {
			return fmt.Errorf("%s, time %d: %w", s.Method, i+1, err)
		}
		if err := m.gone(r, s.Method, req); err != nil {
			return fmt.Errorf("%s, time %d: %s: %w", s.Method, i+1, body, err)
		}
		if i == 0 {
			first = reply
			continue
		}
		// An address without a name asked for again is a new one: the request can't tell a repetition from a second container.
		if s.Method != "IpamDriver.RequestAddress" && fmt.Sprint(first) != fmt.Sprint(reply) {
			return fmt.Errorf("%s, time %d: %+v, but at first %+v", s.Method, i+1, reply, first)
		}
	}
	if want == succeeds {
		m.learn(s.Method, req, resp, first)
	}
	return nil
}
