package engine

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// locked serves a Docker that does not answer about some containers until the test ends, nor pings if they are among them.
func locked(t *testing.T, held ...string) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		what := strings.TrimSuffix(strings.TrimPrefix(req.URL.Path, "/containers/"), "/json")
		switch {
		case slices.Contains(held, what):
			<-req.Context().Done()
		case what == "gone":
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"message":"No such container"}`))
		case what == "trouble":
			w.WriteHeader(http.StatusInternalServerError)
		default:
			_, _ = w.Write([]byte(`{}`))
		}
	}))
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	return New(socket)
}

func TestBusy(t *testing.T) {
	many := make([]string, maxBusy+1)
	for i := range many {
		many[i] = fmt.Sprint("c", i)
	}
	for name, c := range map[string]struct {
		held, ids, want []string
	}{
		"nobody":            {nil, []string{"a", "b", "gone"}, nil},
		"nobody to ask":     {nil, nil, nil},
		"one":               {[]string{"b"}, []string{"a", "b", "c", "gone"}, []string{"b"}},
		"the only one":      {[]string{"b"}, []string{"b"}, []string{"b"}},
		"two":               {[]string{"a", "b"}, []string{"a", "b", "c"}, []string{"a", "b"}},
		"Docker hangs":      {[]string{"a", "/_ping"}, []string{"a", "b"}, nil},
		"Docker in trouble": {[]string{"a"}, []string{"a", "trouble"}, nil},
		"too many":          {many[:1], many, nil},
	} {
		docker := locked(t, c.held...)
		got := docker.Busy(t.Context(), c.ids)
		for end := time.Now().Add(10 * time.Second); got == nil && c.want != nil && time.Now().Before(end); { // on a machine that is slow itself
			got = docker.Busy(t.Context(), c.ids)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, not %q", name, got, c.want)
		}
	}
	if got := New(filepath.Join(t.TempDir(), "none.sock")).Busy(t.Context(), []string{"a"}); got != nil {
		t.Errorf("no socket: %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := locked(t, "a").Busy(ctx, []string{"a"}); got != nil {
		t.Errorf("a caller that has gone: %q", got)
	}
}

func TestNames(t *testing.T) {
	list := `[{"Id":"c1","Names":["/db/alias","/web"]},{"Id":"c2","Names":["/db"]},{"Id":"c3","Names":null}]`
	got, err := serve(t, map[string]string{"/containers/json": list}, 0).Names(t.Context())
	if want := map[string]string{"c1": "web", "c2": "db"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := serve(t, map[string]string{"/containers/json": list}, 500).Names(t.Context()); err == nil {
		t.Error("no error")
	}
}
