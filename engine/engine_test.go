package engine

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	networkID = "1111aaaa"
	ep1, ep2  = "eeee1111", "eeee2222"
)

// serve answers each path (with its query) with a status and a body; others are not found.
func serve(t *testing.T, answers map[string]string, status int) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, ok := answers[req.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			body = answers["404"]
		} else if status != 0 {
			w.WriteHeader(status)
		}
		_, _ = w.Write([]byte(body))
	}))
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	return New(socket)
}

func TestEndpointsOfANetwork(t *testing.T) {
	list := `{"Id":"` + networkID + `","Containers":{"ep-` + ep1 + `":{"Name":"web","EndpointID":"` + ep1 + `"},"cccc":{"Name":"db","EndpointID":"` + ep2 + `"}}}`
	got, err := serve(t, map[string]string{"/networks/" + networkID: list}, 0).Endpoints(t.Context(), networkID)
	if err != nil || len(got) != 2 || got[ep1] != (Attached{Name: "web"}) || got[ep2] != (Attached{Name: "db", ID: "cccc"}) {
		t.Errorf("got %v, %v", got, err)
	}
}

// What counts is whether Docker has said that it does not know the thing: then it is collected.
func TestOnlyDockersOwnWordIsForgotten(t *testing.T) {
	path := "/networks/" + networkID
	for name, c := range map[string]struct {
		answers   map[string]string
		status    int
		forgotten bool
	}{
		"Docker does not know it":        {map[string]string{"404": `{"message":"network not found"}`}, 0, true},
		"somebody does not":              {map[string]string{"404": `page not found`}, 0, false},
		"an empty object":                {map[string]string{"404": `{}`}, 0, false},
		"trouble":                        {map[string]string{path: `{"message":"trouble"}`}, 500, false},
		"not ready":                      {map[string]string{path: `{"message":"not found"}`}, 503, false},
		"not allowed":                    {map[string]string{path: ``}, 403, false},
		"another network":                {map[string]string{path: `{"Id":"2222"}`}, 0, false},
		"an answer that ends too early":  {map[string]string{path: `{"Id":"` + networkID + `","Cont`}, 0, false},
		"an answer of the wrong form":    {map[string]string{path: `[]`}, 0, false},
		"an answer without any contents": {map[string]string{path: ``}, 0, false},
	} {
		_, err := serve(t, c.answers, c.status).Endpoints(t.Context(), networkID)
		if err == nil || errors.Is(err, ErrForgotten) != c.forgotten {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(filepath.Join(t.TempDir(), "none.sock")).Endpoints(t.Context(), networkID); err == nil || errors.Is(err, ErrForgotten) {
		t.Errorf("no socket: %v", err)
	}
}

func TestContainer(t *testing.T) {
	local := netip.MustParseAddr("127.0.0.1")
	for name, c := range map[string]struct {
		body  string
		want  []Port
		alias []string
	}{
		"20.10": {`{"Id":"cccc","Name":"/web","Config":{"Labels":{"a":"b"},"ExposedPorts":{"99/tcp":{}}},"NetworkSettings":{
			"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"32768"},{"HostIp":"127.0.0.1","HostPort":"8080"}],"81/udp":null},
			"Networks":{"mesh":{"EndpointID":"` + ep1 + `","Aliases":["w","cccc"],"IPAMConfig":{"LinkLocalIPs":["169.254.7.7"]}},"bridge":{"EndpointID":"` + ep2 + `","Aliases":null,"IPAMConfig":null}}}}`,
			[]Port{{Proto: "tcp", Port: 80}, {Proto: "tcp", Port: 80, HostPort: 32768}, {Proto: "tcp", Port: 80, HostPort: 8080, HostIP: local}, {Proto: "udp", Port: 81}, {Proto: "tcp", Port: 99}},
			[]string{"w", "cccc"}},
		"29": {`{"Id":"cccc","Name":"/web","Config":{"Labels":{"a":"b"}},"NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"::","HostPort":"32768"}]},
			"Networks":{"mesh":{"EndpointID":"` + ep1 + `","Aliases":["w"],"DNSNames":["web","w","cccc","host"]}}}}`,
			[]Port{{Proto: "tcp", Port: 80}, {Proto: "tcp", Port: 80, HostPort: 32768}}, []string{"w", "web", "w", "cccc", "host"}},
		"odd ports": {`{"Id":"cccc","Name":"web","Config":{"Labels":{"a":"b"},"ExposedPorts":{"x":{},"70000/tcp":{},"0/udp":{},"7":{}}},
			"NetworkSettings":{"Ports":{"1/tcp":[{"HostIp":"fe80::1%eth0","HostPort":"1"},{"HostPort":"x"},{"HostPort":"99999"}],"/":null}}}`,
			[]Port{{Proto: "tcp", Port: 1}, {Proto: "tcp", Port: 1, HostPort: 1}}, nil},
	} {
		got, err := serve(t, map[string]string{"/containers/cccc/json": c.body}, 0).Container(t.Context(), "cccc")
		if err != nil || got.ID != "cccc" || got.Name != "web" || got.Labels["a"] != "b" || !slices.Equal(got.Aliases[ep1], c.alias) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
		if local := got.LinkLocal[ep1]; (name == "20.10") != slices.Equal(local, []string{"169.254.7.7"}) {
			t.Errorf("%s: link-local %q", name, local)
		}
		slices.SortFunc(got.Ports, func(a, b Port) int {
			return strings.Compare(string(rune(a.Port))+string(rune(a.HostPort)), string(rune(b.Port))+string(rune(b.HostPort)))
		})
		want := slices.Clone(c.want)
		slices.SortFunc(want, func(a, b Port) int {
			return strings.Compare(string(rune(a.Port))+string(rune(a.HostPort)), string(rune(b.Port))+string(rune(b.HostPort)))
		})
		if !slices.Equal(got.Ports, want) {
			t.Errorf("%s: ports %v, want %v", name, got.Ports, want)
		}
	}
}

func TestWatch(t *testing.T) {
	docker := serve(t, map[string]string{"/events": `
		{"Type":"container","Action":"rename","Actor":{"ID":"c1","Attributes":{"name":"new","oldName":"/old"}},"time":1}
		{"Type":"network","Action":"connect","Actor":{"ID":"n1","Attributes":{"container":"c2","name":"mesh"}}}`}, 0)
	var seen []Event
	began := 0
	err := docker.Watch(t.Context(), func() { began++ }, func(e Event) { seen = append(seen, e) })
	if err == nil || began != 1 || !slices.Equal(seen, []Event{{"rename", "c1", "new"}, {"connect", "c2", ""}}) {
		t.Errorf("began %d times, saw %v, %v", began, seen, err)
	}
	if err := serve(t, nil, 0).Watch(t.Context(), func() { t.Error("begun") }, nil); err == nil {
		t.Error("no error")
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // nobody accepts: a dockerd that is starting
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- New(socket).Watch(ctx, func() {}, nil) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
