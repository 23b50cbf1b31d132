package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// short is a limit for tests that wait for it to pass.
const short = 50 * time.Millisecond

func TestCase26AnswersBeforeTheBackend(t *testing.T) {
	d := start(t, nil)
	for method := range static {
		if status, reply, _ := d.ask(t, method, "null"); status != http.StatusOK {
			t.Errorf("%s: %d %s", method, status, reply)
		}
	}
	// what needs no driver need not wait for one
	for _, c := range good {
		if c.backend {
			continue
		}
		if status, reply, _ := d.ask(t, c.method, c.body); status != http.StatusOK {
			t.Errorf("%s: %d %s", c.method, status, reply)
		}
	}
}

func TestStarting(t *testing.T) {
	s := New(socket(t), quiet(io.Discard), Options{})
	s.limit = short
	d := serve(t, s)
	join := good[4]
	if status, _, text := d.ask(t, join.method, join.body); status == http.StatusOK || text != "meshsec is starting" {
		t.Errorf("%d %q", status, text)
	}
	s.SetStarting("etcd at 192.0.2.1:2379 does not answer")
	if _, _, text := d.ask(t, join.method, join.body); text != "meshsec is starting: etcd at 192.0.2.1:2379 does not answer" {
		t.Errorf("%q", text)
	}
	f := new(fake)
	s.SetBackend(f, f)
	if status, reply, _ := d.ask(t, join.method, join.body); status != http.StatusOK {
		t.Errorf("with a backend: %d %s", status, reply)
	}
}

// A call that came early is carried out as soon as there is a backend.
func TestWaitingCallsGoOn(t *testing.T) {
	s := New(socket(t), quiet(io.Discard), Options{})
	s.limit = time.Minute
	d := serve(t, s)
	var calls sync.WaitGroup
	for range 10 {
		calls.Go(func() {
			if status, _, text, err := d.post(t.Context(), good[4].method, good[4].body); err != nil || status != http.StatusOK {
				t.Errorf("%d %q %v", status, text, err)
			}
		})
	}
	f := new(fake)
	s.SetBackend(f, f)
	calls.Wait()
	if len(f.seen()) != 10 {
		t.Errorf("the driver saw %d calls", len(f.seen()))
	}
}

func TestSetError(t *testing.T) {
	f := new(fake)
	d := start(t, f)
	d.SetError(errors.New(`setting PORTS is unknown: known are PORT, POOLS`))
	for _, c := range good {
		if status, _, text := d.ask(t, c.method, c.body); status == http.StatusOK || text != "meshsec: setting PORTS is unknown: known are PORT, POOLS" {
			t.Errorf("%s: %d %q", c.method, status, text)
		}
	}
	for method := range static { // else Docker could not even list or enable the plugin
		if status, reply, _ := d.ask(t, method, "null"); status != http.StatusOK {
			t.Errorf("%s: %d %s", method, status, reply)
		}
	}
	if len(f.seen()) != 0 {
		t.Errorf("the drivers heard of %q", f.seen())
	}
	d.SetBackend(f, f)
	if status, reply, _ := d.ask(t, good[4].method, good[4].body); status != http.StatusOK {
		t.Errorf("after the error: %d %s", status, reply)
	}
}

func TestSentence(t *testing.T) {
	for err, want := range map[error]string{
		errors.New("address 10.42.0.9 is taken"):                                        "meshsec: address 10.42.0.9 is taken",
		fmt.Errorf("join: %w", errors.New("meshsec: no link")):                          "meshsec: join: no link",
		errors.Join(errors.New("one"), errors.New("two")):                               "meshsec: one; two",
		fmt.Errorf("claim block: %w", context.DeadlineExceeded):                         "meshsec: claim block: not done in time",
		errors.New("meshsec is starting: etcd"):                                         "meshsec is starting: etcd",
		errors.New("unknown option meshsec.nettwork: known are meshsec.network, mtu\n"): "meshsec: unknown option meshsec.nettwork: known are meshsec.network, mtu",
	} {
		if got := sentence(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// One call that panics is answered, logged with its stack, and the process goes on.
func TestCase15Panic(t *testing.T) {
	var log bytes.Buffer
	f := &fake{hook: func(_ context.Context, method string) error { panic(method + " went wrong") }}
	s := New(socket(t), quiet(&log), Options{})
	s.SetBackend(f, f)
	d := serve(t, s)
	for _, c := range good {
		status, reply, text := d.ask(t, c.method, c.body)
		if !c.backend {
			continue
		}
		if status != http.StatusInternalServerError || !strings.Contains(text, "went wrong") || !strings.HasPrefix(text, "meshsec: "+c.method) {
			t.Errorf("%s: %d %s", c.method, status, reply)
		}
	}
	if err := d.end(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "panic in a plugin call") || !strings.Contains(log.String(), "fake_test.go") {
		t.Errorf("the log has no stack: %s", log.String())
	}
}

func TestDriverErrors(t *testing.T) {
	f := &fake{hook: func(context.Context, string) error { return errors.New("address 10.42.64.9 is held by web on host b") }}
	d := start(t, f)
	for _, c := range good {
		status, reply, text := d.ask(t, c.method, c.body)
		if c.backend && (status != http.StatusInternalServerError || reply != `{"Err":"meshsec: address 10.42.64.9 is held by web on host b"}`) {
			t.Errorf("%s: %d %s %q", c.method, status, reply, text)
		}
	}
}

func TestObserve(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[string]error)
	f := &fake{hook: func(_ context.Context, method string) error {
		if method == "Join" {
			return io.ErrUnexpectedEOF
		}
		return nil
	}}
	s := New(socket(t), quiet(io.Discard), Options{Observe: func(method string, took time.Duration, err error) {
		mu.Lock()
		defer mu.Unlock()
		seen[method] = err
	}})
	s.SetBackend(f, f)
	d := serve(t, s)
	for _, c := range good {
		d.ask(t, c.method, c.body)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, c := range good {
		if err, ok := seen[c.method]; !ok || (err != nil) != (c.method == "NetworkDriver.Join") {
			t.Errorf("%s: seen %v, error %v", c.method, ok, err)
		}
	}
}
