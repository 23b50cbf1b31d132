package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/driver"
	"github.com/meshsec/meshsec/ipam"
)

// fake is both drivers. It writes down what it is asked, and does first what hook says.
type fake struct {
	mu    sync.Mutex
	calls []string
	hook  func(ctx context.Context, method string) error
}

func (f *fake) called(ctx context.Context, method string, args ...any) error {
	f.mu.Lock()
	text, _ := json.Marshal(args) // sorts maps, unlike %v of a nested one
	f.calls = append(f.calls, method+" "+string(text))
	hook := f.hook
	f.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(ctx, method)
}

func (f *fake) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.calls...)
}

func (f *fake) CreateNetwork(ctx context.Context, req driver.NetworkRequest) error {
	return f.called(ctx, "CreateNetwork", req)
}

func (f *fake) DeleteNetwork(ctx context.Context, id string) error {
	return f.called(ctx, "DeleteNetwork", id)
}

func (f *fake) CreateEndpoint(ctx context.Context, req driver.EndpointRequest) (driver.EndpointReply, error) {
	return driver.EndpointReply{MAC: "02:6d:0a:2a:47:09"}, f.called(ctx, "CreateEndpoint", req)
}

func (f *fake) DeleteEndpoint(ctx context.Context, network, endpoint string) error {
	return f.called(ctx, "DeleteEndpoint", network, endpoint)
}

func (f *fake) Join(ctx context.Context, network, endpoint, sandbox string, options map[string]any) (driver.JoinReply, error) {
	return driver.JoinReply{SrcName: "ms0123456789", DstPrefix: "eth"}, f.called(ctx, "Join", network, endpoint, sandbox, options)
}

func (f *fake) Leave(ctx context.Context, network, endpoint string) error {
	return f.called(ctx, "Leave", network, endpoint)
}

func (f *fake) AllocateNetwork(ctx context.Context, id string, v4 []driver.PoolData, options map[string]string) error {
	return f.called(ctx, "AllocateNetwork", id, v4, options)
}

func (f *fake) FreeNetwork(ctx context.Context, id string) error {
	return f.called(ctx, "FreeNetwork", id)
}

func (f *fake) RequestPool(ctx context.Context, req ipam.PoolRequest) (ipam.PoolReply, error) {
	return ipam.PoolReply{ID: "MeshsecLocal/default", Pool: netip.MustParsePrefix("10.42.0.0/16")}, f.called(ctx, "RequestPool", req)
}

func (f *fake) ReleasePool(ctx context.Context, id string) error {
	return f.called(ctx, "ReleasePool", id)
}

func (f *fake) RequestAddress(ctx context.Context, req ipam.AddressRequest) (netip.Prefix, error) {
	return netip.MustParsePrefix("10.42.64.9/16"), f.called(ctx, "RequestAddress", req)
}

func (f *fake) ReleaseAddress(ctx context.Context, pool, address string) error {
	return f.called(ctx, "ReleaseAddress", pool, address)
}

// docker is a Server at work and a client that speaks to it as dockerd does.
type docker struct {
	*Server
	client *http.Client
	end    func() error // stops the Server and returns what Serve did
}

// quiet is a log that writes to w only, everything.
func quiet(w io.Writer) *logrus.Entry {
	log := logrus.New()
	log.SetOutput(w)
	log.SetLevel(logrus.DebugLevel)
	return logrus.NewEntry(log)
}

// serve starts s, made by New, until the test ends.
func serve(t *testing.T, s *Server) *docker {
	t.Helper()
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	d := &docker{Server: s, end: sync.OnceValue(func() error { cancel(); return <-served })}
	d.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.sock)
	}}}
	t.Cleanup(func() {
		d.client.CloseIdleConnections()
		if err := d.end(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return d
}

// start serves with f as the backend; without f there is none yet.
func start(t *testing.T, f *fake) *docker {
	t.Helper()
	s := New(socket(t), quiet(io.Discard), Options{})
	if f != nil {
		s.SetBackend(f, f)
	}
	return serve(t, s)
}

// socket is a path for a socket, short enough for one (t.TempDir's may not be).
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "plugin-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "plugins", SocketName)
}

// post sends a request and returns status and reply, and its error if there is one.
func (d *docker) post(ctx context.Context, method, body string) (status int, reply, errText string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://plugin.moby.localhost/"+method, bytes.NewBufferString(body))
	if err != nil {
		return 0, "", "", err
	}
	req.Header.Set("Accept", "application/vnd.docker.plugins.v1.2+json")
	resp, err := d.client.Do(req)
	if err != nil {
		return 0, "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	var e struct{ Err string }
	if json.Unmarshal(text, &e) != nil {
		err = fmt.Errorf("%s: reply is no JSON: %q", method, text)
	}
	return resp.StatusCode, string(bytes.TrimSpace(text)), e.Err, err
}

// ask is post for calls that must be answered.
func (d *docker) ask(t *testing.T, method, body string) (status int, reply, errText string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	status, reply, errText, err := d.post(ctx, method, body)
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	return status, reply, errText
}
