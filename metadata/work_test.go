package metadata

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/meshsec/meshsec/directory"
	"github.com/meshsec/meshsec/store"
)

// fill adds n containers of the other host, ten to a service, and publishes.
func (w *world) fill(n int) {
	next := *w.snap
	next.Revision++
	m := map[store.EndpointKey]*store.Endpoint{}
	addr := netip.MustParseAddr("10.42.100.0")
	for i := range n {
		addr = addr.Next()
		e := store.Endpoint{ID: fmt.Sprintf("e%032d", i), ContainerID: fmt.Sprintf("c%063d", i), Host: far, Network: "default", Addr: addr, Name: fmt.Sprintf("Many-%d", i),
			Service: fmt.Sprintf("svc%d", i/10), Project: "big", Labels: map[string]string{"com.docker.compose.service": "svc", "note": "two\n\nlines"}}
		m[e.Key()] = &e
	}
	next.Endpoints = map[string]map[store.EndpointKey]*store.Endpoint{far: m}
	w.snap = &next
	w.publish()
}

// serve answers without a connection.
func (w *world) serve(path string, accept string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.RemoteAddr = netip.AddrPortFrom(me, 9).String()
	r.Header.Set("Accept", accept)
	rec := httptest.NewRecorder()
	w.s.ServeHTTP(rec, r)
	return rec
}

// allocated is how many bytes fn allocates.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

const muchRate = 1 << 30 // a container may do what it likes

func TestWorkIsForWhatIsAskedOnly(t *testing.T) {
	w := newWorld(t, Options{Rate: muchRate})
	w.fill(20000)
	for path, most := range map[string]uint64{
		"/latest/self/container/name": 32 << 10, "/latest/self": 32 << 10, "/latest": 32 << 10, "/latest/version": 32 << 10, "/latest/hosts/two/state": 32 << 10,
		"/latest/networks": 32 << 10,
	} {
		var rec *httptest.ResponseRecorder
		if n := allocated(func() { rec = w.serve(path, "") }); n > most || rec.Code != http.StatusOK {
			t.Errorf("%s: %d, %d bytes allocated, want %d at most", path, rec.Code, n, most)
		}
	}
	if n := testing.AllocsPerRun(20, func() { w.serve("/latest/self/container/name", "") }); n > 200 {
		t.Errorf("%v allocations for the own name", n)
	}
	// What needs to know all of them does so once, until there are other facts.
	if n := allocated(func() { w.serve("/latest/containers/many-7/name", "") }); n > 32<<20 {
		t.Errorf("%d bytes for the first name", n)
	}
	for path, want := range map[string]string{"containers/many-19999/name": "Many-19999", fmt.Sprintf("containers/C%063d/name", 3): "Many-3", "services/svc7/scale": "10",
		"self/service/name": "web", "services/svc7/containers/many-70/name": "Many-70"} {
		var rec *httptest.ResponseRecorder
		if n := allocated(func() { rec = w.serve("/latest/"+path, "") }); n > 64<<10 || rec.Body.String() != want {
			t.Errorf("%s: %s, %d bytes", path, rec.Body, n)
		}
	}
	if rec := w.serve("/latest/containers/nobody", ""); rec.Code != http.StatusNotFound || strings.Count(rec.Body.String(), "\n") > maxThere+3 ||
		!strings.Contains(rec.Body.String(), "... and 19902 more") {
		t.Errorf("%d: %.200s", rec.Code, rec.Body)
	}
}

func TestAnswersHaveALongestLength(t *testing.T) {
	w := newWorld(t, Options{Rate: muchRate})
	w.fill(20000)
	w.serve("/latest/containers/0", "")
	for _, accept := range []string{formatJSON, formatYAML} {
		for _, path := range []string{"/latest", "/latest/containers", "/latest/services", "/latest?wait=true&maxWait=60"} {
			var rec *httptest.ResponseRecorder
			n := allocated(func() { rec = w.serve(path, accept) })
			if rec.Code != http.StatusRequestEntityTooLarge || !strings.Contains(rec.Body.String(), "narrower path") || n > 1<<20 {
				t.Errorf("%s as %s: %d %.100s, %d bytes allocated", path, accept, rec.Code, rec.Body, n)
			}
		}
	}
	if rec := w.serve("/latest/containers", ""); rec.Code != http.StatusOK || strings.Count(rec.Body.String(), "\n") != 20002 {
		t.Errorf("the names: %d", rec.Code)
	}
	// What only turns out to be too long while it is written ends there.
	w.fill(13000)
	var rec *httptest.ResponseRecorder
	n := allocated(func() { rec = w.serve("/latest/containers", formatJSON) })
	if rec.Code != http.StatusRequestEntityTooLarge || n > 128<<20 {
		t.Errorf("%d, %d bytes allocated", rec.Code, n)
	}
	made := 0
	long := &many{n: 1000, at: func(int) any { made++; return strings.Repeat("x", 64<<10) }}
	for _, value := range []any{long, node{"a": long, "b": long}, list{strings.Repeat("x", maxAnswer)}} {
		for _, format := range []string{formatJSON, formatYAML} {
			made = 0
			if _, err := render(value, format); !errors.Is(err, errTooLong) || made > 66 {
				t.Errorf("%s: %v after %d parts", format, err, made)
			}
		}
	}
	w.fill(3000)
	if rec := w.serve("/latest/containers", formatJSON); rec.Code != http.StatusOK {
		t.Errorf("3,000 containers: %d", rec.Code)
	}
}

// TestPartByPartIsTheWhole: what is written part by part is what the marshallers make of the whole.
func TestPartByPartIsTheWhole(t *testing.T) {
	w := newWorld(t, Options{Rate: muchRate})
	w.fill(25)
	for _, path := range []string{"", "self", "self/service", "containers", "containers/3", "services", "services/svc1", "services/svc1/containers", "hosts", "networks", "version"} {
		var fromJSON, fromYAML any
		body := w.serve("/latest/"+path, formatJSON).Body.Bytes()
		if err := json.Unmarshal(body, &fromJSON); err != nil {
			t.Fatalf("%s: %v in %s", path, err, body)
		}
		text := w.serve("/latest/"+path, formatYAML).Body.Bytes()
		if err := yaml.Unmarshal(text, &fromYAML); err != nil {
			t.Fatalf("%s: %v in %s", path, err, text)
		}
		if !reflect.DeepEqual(fromJSON, fromYAML) {
			t.Errorf("%s: %s\n%s", path, body, text)
		}
		if whole, err := yaml.Marshal(fromJSON); err != nil || !bytes.Equal(whole, text) {
			t.Errorf("%s: %s\nwant %s", path, text, whole)
		}
	}
	w.snap.Endpoints = map[string]map[store.EndpointKey]*store.Endpoint{}
	w.local = &store.Local{Endpoints: map[string]store.LocalEndpoint{"a": {Endpoint: store.Endpoint{ID: "a", Network: "default", Addr: me, Host: self}}}}
	w.publish()
	if got := w.serve("/latest", formatYAML).Body.String(); !strings.Contains(got, "services: []\n") {
		t.Error(got)
	}
}

func TestBigAnswersAreMadeInTurn(t *testing.T) {
	w := newWorld(t, Options{Rate: muchRate})
	w.fill(200)
	w.s.slot <- struct{}{} // somebody else's job
	if rec := w.serve("/latest/containers", formatJSON); rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := w.serve("/latest/self/container", formatYAML); rec.Code != http.StatusOK {
		t.Errorf("a small one: %d", rec.Code)
	}
	<-w.s.slot
	for range maxBigOf { // that are slowly read
		w.s.big.Enter(me)
	}
	if rec := w.serve("/latest", formatJSON); rec.Code != http.StatusServiceUnavailable {
		t.Errorf("a third one: %d", rec.Code)
	}
	for range maxBigOf {
		w.s.big.Leave(me)
	}
	for range 3 { // nothing stays taken
		if rec := w.serve("/latest", formatYAML); rec.Code != http.StatusOK || len(w.s.slot) != 0 || w.s.big.Taken() != 0 {
			t.Errorf("%d", rec.Code)
		}
	}
	first, second := w.serve("/latest/containers", formatJSON), 0
	second = int(allocated(func() { w.serve("/Latest/Containers/", formatJSON) }))
	if second > 3*first.Body.Len() {
		t.Errorf("made anew: %d bytes", second)
	}
	w.put("default", "10.42.64.9", "new")
	if rec := w.serve("/latest/containers", formatJSON); !strings.Contains(rec.Body.String(), `"new"`) {
		t.Error("an old answer")
	}
}

func TestWorkIsCharged(t *testing.T) {
	w := newWorld(t, Options{Rate: 20})
	w.fill(1000)
	codes := map[int]int{}
	for range 5 {
		codes[w.serve("/latest/services", formatYAML).Code]++
	}
	if codes[http.StatusOK] < 1 || codes[http.StatusTooManyRequests] < 3 {
		t.Errorf("%v", codes)
	}
	if got := w.get(other, "/latest/self/container/name"); got != "other" {
		t.Errorf("another container: %s", got)
	}
}

// TestWaitsPayLater: a wait for what is much work to look at goes on, though its container is in debt because of it.
func TestWaitsPayLater(t *testing.T) {
	w := newWorld(t, Options{Rate: 50})
	w.fill(2000)
	answer := w.waiting("/latest/containers?wait=true&maxWait=60")
	now, _ := w.board.Now()
	for end := time.Now().Add(patience); ; { // until it has looked
		if _, looked := w.s.renderings.get(view{dir: now, from: now.Asker(me)}.key(formatJSON + " containers")); looked {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it does not look")
		}
		runtime.Gosched()
	}
	w.s.rates.Owe(me, 300, time.Now())
	if rec := w.serve("/latest/version", ""); rec.Code != http.StatusTooManyRequests || rec.Header().Get("Retry-After") < "2" {
		t.Errorf("in debt: %d", rec.Code)
	}
	w.put("default", "10.42.64.9", "Another")
	if got := <-answer; !strings.HasPrefix(got, "0=Another\n") {
		t.Error(got)
	}
}

func TestOldFactsAreNotKept(t *testing.T) {
	c, a, b := cache[int]{max: 2}, directory.New(self), directory.New(self)
	c.put(key{dir: a, what: "1"}, 1, a)
	c.put(key{dir: b, what: "1"}, 2, b)
	if _, ok := c.get(key{dir: a, what: "1"}); ok {
		t.Error("kept")
	}
	c.put(key{dir: a, what: "1"}, 1, b) // of a slow request
	for i := range 5 {
		c.put(key{dir: b, what: fmt.Sprint(i)}, i, b)
	}
	if _, ok := c.get(key{dir: b, what: "4"}); !ok || len(c.of) != 2 {
		t.Errorf("%v", c.of)
	}
}
