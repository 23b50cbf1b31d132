package engine

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// ping serves an engine that has nothing but an answer to pings, with these headers.
func ping(t *testing.T, server, api string) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Server", server)
		w.Header().Set("Api-Version", api)
	}))
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return New(socket)
}

func TestVersion(t *testing.T) {
	for _, c := range []struct {
		server, api string
		want        Version
		text        string
	}{
		{"Docker/20.10.24+dfsg1 (linux)", "1.41", Version{"20.10.24+dfsg1", API{1, 41}}, "20.10.24+dfsg1, API 1.41"},
		{"Docker/29.8.0 (linux)", "1.56", Version{"29.8.0", API{1, 56}}, "29.8.0, API 1.56"},
		{"Docker/library-import (linux)", "1.56", Version{"library-import", API{1, 56}}, "library-import, API 1.56"},
		{"Libpod/4.3.1 (linux)", "1.41", Version{"", API{1, 41}}, "version not told, API 1.41"},
	} {
		v, err := ping(t, c.server, c.api).Version(t.Context())
		if err != nil || v != c.want || v.String() != c.text {
			t.Errorf("%s: %+v %q, %v", c.server, v, v, err)
		}
	}
	for _, api := range []string{"", "one", "1", "1.x", "-1.2"} {
		if v, err := ping(t, "Docker/1", api).Version(t.Context()); err == nil || !strings.Contains(err.Error(), "version") {
			t.Errorf("%q: %+v, %v", api, v, err)
		}
	}
	if _, err := New(filepath.Join(t.TempDir(), "none.sock")).Version(t.Context()); err == nil {
		t.Error("no engine, and no error")
	}
}

func TestAPIVersionsAreNumbers(t *testing.T) {
	for _, c := range []struct {
		a, b string
		less bool
	}{{"1.9", "1.41", true}, {"1.56", "1.56", false}, {"2.0", "1.56", false}, {"1.55", "1.56", true}, {"", "1.12", true}} {
		if got := ParseAPI(c.a).Less(ParseAPI(c.b)); got != c.less {
			t.Errorf("%q before %q: %v", c.a, c.b, got)
		}
	}
}

// TestFlaw: only releases of the 29 series that are surely older than 29.3.1 are warned of.
func TestFlaw(t *testing.T) {
	for version, flawed := range map[string]bool{
		"29.0.0": true, "29.0.3": true, "29.2.1": true, "29.3.0": true, "29.3.1": false, "29.3.10": false, "29.7.2": false, "29.10.0": false,
		"30.0.0": false, "28.5.2": false, "25.0.16": false, "20.10.24+dfsg1": false, "library-import": false, "": false,
		"29.0.0-rc.1": false, "29.1.3-0ubuntu3": false, "29.1.3+dfsg1": false, "v29.1.3": false, "29.1": false, "29.1.3.4": false,
	} {
		got := Version{Engine: version, API: API{1, 52}}.Flaw()
		if flawed != (got != "") || flawed && !(strings.Contains(got, version) && strings.Contains(got, "29.3.1") && strings.Contains(got, "GO-2026-4883")) {
			t.Errorf("%s: %q", version, got)
		}
	}
}
