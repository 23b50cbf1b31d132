package driver

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/meshsec/meshsec/internal/teststore"
)

// engine is Docker's API as far as the driver asks it.
type engine struct {
	mu       sync.Mutex
	networks map[string]map[string]listed // by network ID, then by the list's key
	status   int                          // if set, of every answer
	asked    []string
}

type listed struct{ Name, EndpointID, MacAddress, IPv4Address string }

func startEngine(t testing.TB) (*engine, *Docker) {
	e := &engine{networks: map[string]map[string]listed{}}
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(e)
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	return e, NewDocker(socket)
}

func (e *engine) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = append(e.asked, req.Method+" "+req.URL.Path)
	id := strings.TrimPrefix(req.URL.Path, "/networks/")
	list, ok := e.networks[id]
	switch {
	case e.status != 0:
		w.WriteHeader(e.status)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": "trouble"})
	case !ok:
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": "network " + id + " not found"})
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"Id": id, "Name": "mesh", "Driver": "meshsec/plugin:latest", "Containers": list})
	}
}

// set makes this the list of a network: its keys, then names and endpoint IDs by turns.
func (e *engine) set(network string, entries ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := map[string]listed{}
	for i := 0; i < len(entries); i += 3 {
		list[entries[i]] = listed{Name: entries[i+1], EndpointID: entries[i+2]}
	}
	e.networks[network] = list
}

func (e *engine) fail(status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status = status
}

func (e *engine) forget(network string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.networks, network)
}

func TestDockersAnswers(t *testing.T) {
	e, docker := startEngine(t)
	ctx := context.Background()
	if _, err := docker.endpoints(ctx, net1); !errors.Is(err, errForgotten) {
		t.Errorf("unknown network: %v", err)
	}
	e.set(net1, "ep-"+ep1, "web", ep1, "cccc", "db", ep2)
	got, err := docker.endpoints(ctx, net1)
	if err != nil || len(got) != 2 || got[ep1] != (container{name: "web"}) || got[ep2] != (container{name: "db", id: "cccc"}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, status := range []int{500, 503, 403} {
		e.fail(status)
		if _, err := docker.endpoints(ctx, net1); err == nil || errors.Is(err, errForgotten) {
			t.Errorf("status %d: %v", status, err)
		}
	}
	if _, err := NewDocker(filepath.Join(t.TempDir(), "none.sock")).endpoints(ctx, net1); err == nil || errors.Is(err, errForgotten) {
		t.Errorf("no socket: %v", err)
	}
}

func TestNamesOfContainers(t *testing.T) {
	e, docker := startEngine(t)
	r := newRig(t, teststore.New(t), "one")
	r.docker = docker
	r.open()
	pool := r.network(net1, "blue")
	e.set(net1)
	r.start(net1, pool, ep1, "") // 20.10 tells no name
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.driver.Run(ctx) }()
	e.set(net1, "ep-"+ep1, "web", ep1)
	fact := func() (name, id string) {
		e, _ := r.Store.Snapshot().FindEndpoint("blue", r.Local().Endpoints[ep1].Addr)
		return e.Name, e.ContainerID
	}
	r.Wait("the name", func() bool { name, _ := fact(); return name == "web" })
	e.set(net1, "cccc", "web", ep1)
	r.Wait("the container's ID", func() bool { _, id := fact(); return id == "cccc" })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, question := range e.asked {
		if question != "GET /networks/"+net1 {
			t.Errorf("asked %q, which may wait for us", question)
		}
	}
}
