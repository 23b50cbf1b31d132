package metadata

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/directory"
	"github.com/meshsec/meshsec/store"
)

const (
	self     = "0000000000000000"
	far      = "0000000000000001"
	patience = time.Minute
)

// me is on networks default and shop, other on shop only.
var me, other = netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.3")

// world is facts in the making, and a Server that answers from them.
type world struct {
	t     testing.TB
	board *directory.Board
	snap  *store.Snapshot
	local *store.Local
	s     *Server
	url   string
}

func newWorld(t testing.TB, o Options) *world {
	w := &world{t: t, board: directory.NewBoard(directory.New(self)), snap: &store.Snapshot{Revision: 7,
		Hosts: map[string]store.Host{self: {ID: self, Name: "one", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}, far: {ID: far, Name: "two"}},
		Networks: map[string]store.Network{"default": {Name: "default", Pool: netip.MustParsePrefix("10.42.0.0/16")},
			"shop": {Name: "shop", Pool: netip.MustParsePrefix("10.43.0.0/16")}, "secret": {Name: "secret", Pool: netip.MustParsePrefix("10.44.0.0/16")}},
		Blocks: map[store.BlockKey]store.Claim{}, Endpoints: map[string]map[store.EndpointKey]*store.Endpoint{}}}
	for name, n := range w.snap.Networks {
		w.snap.Blocks[store.BlockKey{Network: name, Prefix: n.Pool}] = store.Claim{Host: far}
	}
	w.local = &store.Local{Identity: store.Identity{HostName: "one"}, Endpoints: map[string]store.LocalEndpoint{
		"a": {Endpoint: store.Endpoint{ID: "a", Name: "me", ContainerID: "c1", Network: "default", Addr: me, Host: self, Service: "web", Project: "shop",
			Aliases: []string{"www"}, Labels: map[string]string{"tier": "front"}, Ports: []store.Port{{Proto: "tcp", Port: 80, HostPort: 8080}}}, SandboxKey: "me"},
		"b": {Endpoint: store.Endpoint{ID: "b", Name: "me", ContainerID: "c1", Network: "shop", Addr: netip.MustParseAddr("10.43.0.9"), Host: self}, SandboxKey: "me"},
		"c": {Endpoint: store.Endpoint{ID: "c", Name: "other", ContainerID: "c2", Network: "shop", Addr: other, Host: self}, SandboxKey: "other"},
	}, Networks: map[string]store.LocalNetwork{"n": {Network: "default", Pool: netip.MustParsePrefix("10.42.0.0/16"), Gateway: netip.MustParseAddr("10.42.0.1")}}}
	w.put("default", "10.42.64.2", "db")
	w.put("secret", "10.44.64.2", "vault")
	o.Board = w.board
	if o.Age == nil {
		o.Age = func() (time.Duration, bool) { return 90 * time.Second, false }
	}
	w.s = New(o)
	l, err := net.Listen("tcp4", "127.0.0.80:0")
	if err != nil {
		t.Fatal(err)
	}
	w.url = "http://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

// put adds a container of the other host, and publishes.
func (w *world) put(network, addr, name string) {
	e := store.Endpoint{ID: network + addr, ContainerID: "id-" + name, Host: far, Network: network, Addr: netip.MustParseAddr(addr), Name: name}
	next := *w.snap
	next.Revision++
	m := maps.Clone(next.Endpoints[far])
	if m == nil {
		m = map[store.EndpointKey]*store.Endpoint{}
	}
	m[e.Key()] = &e
	next.Endpoints = map[string]map[store.EndpointKey]*store.Endpoint{far: m}
	w.snap = &next
	w.publish()
}

func (w *world) publish(lost ...string) {
	down := map[string]bool{}
	for _, h := range lost {
		down[h] = true
	}
	now, _ := w.board.Now()
	w.board.Set(now.Next(w.snap, w.local, down))
}

// client is one that asks from an address.
func client(from netip.Addr) *http.Client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
	return &http.Client{Timeout: 2 * patience, Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}}
}

// ask makes a request with headers in pairs.
func (w *world) ask(from netip.Addr, method, path string, headers ...string) (*http.Response, string) {
	w.t.Helper()
	req, err := http.NewRequest(method, w.url+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := client(from).Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res, string(b)
}

// get is the body of a good answer; of any other, the status.
func (w *world) get(from netip.Addr, path string, headers ...string) string {
	w.t.Helper()
	res, body := w.ask(from, http.MethodGet, path, headers...)
	if res.StatusCode != http.StatusOK {
		return res.Status + ": " + strings.ReplaceAll(body, "\n", "|")
	}
	return body
}
