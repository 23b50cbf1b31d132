package driver

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/meshsec/meshsec/engine"
)

// dockerd is Docker's API as far as the driver asks it.
type dockerd struct {
	mu         sync.Mutex
	networks   map[string]map[string]listed // by network ID, then by the list's key
	containers map[string]string            // what inspect gives, by container ID
	status     int                          // if set, of every answer
	names      map[string]string            // of all containers, by ID
	version    string                       // its headers Server and, as the last word, Api-Version; empty: neither
	locked     map[string]bool              // containers that no question about is answered, by ID
	asked      []string
	streams    map[chan string]bool // of events
}

type listed struct{ Name, EndpointID, MacAddress, IPv4Address string }

func startEngine(t testing.TB) (*dockerd, *engine.Client) {
	e := &dockerd{networks: map[string]map[string]listed{}, containers: map[string]string{}, names: map[string]string{},
		locked: map[string]bool{}, streams: map[chan string]bool{}}
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(e)
	server.Listener = l
	server.Start()
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return e, engine.New(socket)
}

func (e *dockerd) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path == "/events" {
		e.stream(w, req)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = append(e.asked, req.Method+" "+req.URL.Path)
	id := strings.TrimPrefix(req.URL.Path, "/networks/")
	container := strings.TrimSuffix(strings.TrimPrefix(req.URL.Path, "/containers/"), "/json")
	list, ok := e.networks[id]
	switch {
	case e.status != 0:
		w.WriteHeader(e.status)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": "trouble"})
	case req.URL.Path == "/_ping":
		if at := strings.LastIndexByte(e.version, ' '); at >= 0 {
			w.Header().Set("Server", e.version[:at])
			w.Header().Set("Api-Version", e.version[at+1:])
		}
	case req.URL.Path == "/containers/json":
		list := []map[string]any{}
		for id, name := range e.names {
			list = append(list, map[string]any{"Id": id, "Names": []string{"/" + name}})
		}
		_ = json.NewEncoder(w).Encode(list)
	case e.locked[container]:
		e.mu.Unlock()
		<-req.Context().Done()
		e.mu.Lock()
	case e.containers[container] != "":
		_, _ = w.Write([]byte(e.containers[container]))
	case !ok:
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": id + " not found"})
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"Id": id, "Name": "mesh", "Driver": "meshsec/plugin:latest", "Containers": list})
	}
}

// change changes what the engine is.
func (e *dockerd) change(what func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	what()
}

// stream sends events until the client goes or hangUp.
func (e *dockerd) stream(w http.ResponseWriter, req *http.Request) {
	events := make(chan string, 16)
	e.mu.Lock()
	if e.status != 0 {
		w.WriteHeader(e.status)
		e.mu.Unlock()
		return
	}
	e.streams[events] = true
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.streams, events)
		e.mu.Unlock()
	}()
	w.(http.Flusher).Flush()
	for {
		select {
		case <-req.Context().Done():
			return
		case event, ok := <-events:
			if !ok {
				return
			}
			_, _ = w.Write([]byte(event + "\n"))
			w.(http.Flusher).Flush()
		}
	}
}

// send sends an event to all who listen, and says how many they are.
func (e *dockerd) send(event string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	for s := range e.streams {
		s <- event
	}
	return len(e.streams)
}

// hangUp ends all streams, as a dockerd that stops does.
func (e *dockerd) hangUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for s := range e.streams {
		close(s)
		delete(e.streams, s)
	}
}

// set makes this the list of a network: its keys, then names and endpoint IDs by turns.
func (e *dockerd) set(network string, entries ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := map[string]listed{}
	for i := 0; i < len(entries); i += 3 {
		list[entries[i]] = listed{Name: entries[i+1], EndpointID: entries[i+2]}
	}
	e.networks[network] = list
}

func (e *dockerd) setContainer(id, inspect string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.containers[id] = inspect
}

func (e *dockerd) fail(status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status = status
}

func (e *dockerd) forget(network string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.networks, network)
}

// starts makes these the containers that Docker is just starting.
func (e *dockerd) starts(ids ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.locked)
	for _, id := range ids {
		e.locked[id] = true
	}
}

func (e *dockerd) setName(id, name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.names[id] = name
	e.containers[id] = "{}"
}

// questions are what was asked, each once.
func (e *dockerd) questions() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(e.asked)))
}
