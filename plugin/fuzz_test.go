package plugin

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// FuzzRequests: whatever comes in for whatever method, the reply is success, or an error of one line with our name.
func FuzzRequests(f *testing.F) {
	s := New("unused", quiet(io.Discard), Options{})
	drivers := new(fake)
	s.SetBackend(drivers, drivers)
	calls := slices.Concat(s.networkCalls(), s.ipamCalls())
	add := func(method, body string) {
		f.Add(uint8(slices.IndexFunc(calls, func(c call) bool { return c.method == method })), []byte(body))
	}
	for _, c := range good {
		add(c.method, c.body)
	}
	for _, line := range recorded(f, "29-legacy-basic") {
		if line.Method != "" && line.Method != "Plugin.Activate" {
			add(line.Method, string(line.Request))
		}
	}
	for _, body := range []string{"", "null", "{}", "[", "\xff", `{"NetworkID":"\ud800"}`, `{"Options":{"a":[[[[]]]]}}`} {
		add("NetworkDriver.CreateNetwork", body)
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		c := calls[int(which)%len(calls)]
		w := httptest.NewRecorder()
		s.handler(c)(w, httptest.NewRequest(http.MethodPost, "/"+c.method, bytes.NewReader(body)))
		var reply struct{ Err *string }
		if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil {
			t.Fatalf("%s %q: reply %q: %v", c.method, body, w.Body, err)
		}
		if failed := w.Code != http.StatusOK; failed != (reply.Err != nil) {
			t.Fatalf("%s %q: %d with %q", c.method, body, w.Code, w.Body)
		}
		if reply.Err != nil && (!strings.HasPrefix(*reply.Err, "meshsec: ") || strings.Contains(*reply.Err, "\n") || strings.Contains(*reply.Err, "internal error")) {
			t.Fatalf("%s %q: error %q", c.method, body, *reply.Err)
		}
		drivers.mu.Lock()
		drivers.calls = nil // else they grow with the fuzzing
		drivers.mu.Unlock()
	})
}
