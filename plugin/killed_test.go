package plugin

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/engine"
	"github.com/meshsec/meshsec/store"
)

// When the plugin is killed in a call.
const (
	before     = "before"     // it never saw the call
	unwritten  = "unwritten"  // it has changed links and etcd, and written nothing down
	unanswered = "unanswered" // it has done all but answered
)

// dockerd plays what dockerd sends for commands of its user, to a plugin that is killed in one of the calls. What follows a call
// that failed is what the recorded engines were seen to send.
type dockerd struct {
	*rig
	t       *testing.T
	version int
	victim  string // the call in which the plugin is killed, at its first time
	moment  string
	killed  bool

	lostNetwork bool // the plugin was not told that it is gone

	pool, subnet, gateway, network string
	networks                       sync.Map // by ID, those that there are for its API
	running                        sync.Map // endpoints and their addresses, of containers that run
	lost                           sync.Map // endpoints of which the plugin was not told that they are gone
}

// ServeHTTP is Docker's API: what it says of a network.
func (e *dockerd) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	id := strings.TrimPrefix(req.URL.Path, "/networks/")
	if _, ok := e.networks.Load(id); !ok {
		w.WriteHeader(http.StatusNotFound)
		id = ""
	}
	containers := map[string]any{}
	e.running.Range(func(endpoint, _ any) bool {
		containers["ep-"+endpoint.(string)] = map[string]string{"EndpointID": endpoint.(string)}
		return true
	})
	_ = json.NewEncoder(w).Encode(map[string]any{"Id": id, "message": "not found", "Containers": containers})
}

// serveAPI gives the plugin the API.
func (e *dockerd) serveAPI() {
	e.t.Helper()
	socket := socket(e.t)
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		e.t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		e.t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(e)
	server.Listener = l
	server.Start()
	e.t.Cleanup(server.Close)
	e.engine = engine.New(socket)
}

// call makes a call; it is false if the plugin was killed in it, for then it has failed for dockerd.
func (e *dockerd) call(name, method string, body map[string]any) (reply fields, ok bool) {
	e.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		e.t.Fatal(err)
	}
	e.rise() // dockerd waits for a plugin that is not there
	if name == e.victim && !e.killed {
		e.killed = true
		e.kill(method, string(text))
		// dockerd makes the call again, from a body that it has read already.
		if status, answer, said := e.ask(e.t, method, ""); status == http.StatusOK || !strings.Contains(said, "request body lost") {
			e.t.Errorf("%s without a body: %d %s", method, status, answer)
		}
		return reply, false
	}
	status, answer, _ := e.ask(e.t, method, string(text))
	if e.rise() {
		return reply, false
	}
	if status != http.StatusOK {
		e.t.Fatalf("%s %s: %s", method, text, answer)
	}
	if reply, err = parse(json.RawMessage(answer)); err != nil {
		e.t.Fatal(err)
	}
	return reply, true
}

func (e *dockerd) kill(method, body string) {
	e.t.Helper()
	image := e.image(e.t)
	if e.moment != before {
		if status, answer, _ := e.ask(e.t, method, body); status != http.StatusOK {
			e.t.Fatalf("%s %s: %s", method, body, answer)
		}
	}
	if e.moment == unanswered {
		e.crash(e.t)
		return
	}
	e.start(e.t, image)
}

// createNetwork is `docker network create`.
func (e *dockerd) createNetwork(id string) bool {
	reply, ok := e.call("pool", "IpamDriver.RequestPool", map[string]any{"AddressSpace": "MeshsecLocal", "Options": map[string]string{"meshsec.network": "blue"}})
	if !ok {
		return false
	}
	e.pool, e.subnet, e.network = reply.PoolID, reply.Pool, id
	reply, ok = e.call("gateway", "IpamDriver.RequestAddress", map[string]any{"PoolID": e.pool,
		"Options": map[string]string{"RequestAddressType": "com.docker.network.gateway"}})
	if !ok {
		e.releasePool()
		return false
	}
	e.gateway = reply.Address
	_, ok = e.call("network", "NetworkDriver.CreateNetwork", map[string]any{"NetworkID": id, "Options": map[string]any{},
		"IPv4Data": []map[string]any{{"AddressSpace": "MeshsecLocal", "Pool": e.subnet, "Gateway": e.gateway}}})
	if !ok {
		e.release("no gateway", e.gateway)
		e.releasePool()
		return false
	}
	e.networks.Store(id, true)
	return true
}

// removeNetwork is `docker network rm`.
func (e *dockerd) removeNetwork() {
	e.networks.Delete(e.network)
	e.release("release gateway", e.gateway)
	e.call("release pool", "IpamDriver.ReleasePool", map[string]any{"PoolID": e.pool})
	_, told := e.call("delete network", "NetworkDriver.DeleteNetwork", map[string]any{"NetworkID": e.network})
	e.lostNetwork = !told
}

func (e *dockerd) releasePool() {
	e.call("no pool", "IpamDriver.ReleasePool", map[string]any{"PoolID": e.pool})
}

func (e *dockerd) release(name, addr string) {
	addr, _, _ = strings.Cut(addr, "/")
	e.call(name, "IpamDriver.ReleaseAddress", map[string]any{"PoolID": e.pool, "Address": addr})
}

// run is `docker run`; it gives the container's address.
func (e *dockerd) run(id, wish string) (addr string, ok bool) {
	reply, ok := e.call("address", "IpamDriver.RequestAddress", map[string]any{"PoolID": e.pool, "Address": wish})
	if !ok {
		return "", false
	}
	addr = reply.Address
	ids := map[string]any{"NetworkID": e.network, "EndpointID": id}
	if _, ok = e.call("endpoint", "NetworkDriver.CreateEndpoint", map[string]any{"NetworkID": e.network, "EndpointID": id,
		"Options": map[string]any{}, "Interface": map[string]string{"Address": addr}}); !ok {
		e.release("no address", addr)
		return "", false
	}
	if _, ok = e.call("join", "NetworkDriver.Join", map[string]any{"NetworkID": e.network, "EndpointID": id,
		"SandboxKey": "/run/docker/netns/" + id, "Options": map[string]any{}}); !ok {
		if e.version >= 29 {
			e.call("no leave", "NetworkDriver.Leave", ids)
		}
		e.call("no endpoint", "NetworkDriver.DeleteEndpoint", ids)
		e.release("no address", addr)
		return "", false
	}
	e.running.Store(id, addr)
	return addr, true
}

// stop is `docker rm -f`.
func (e *dockerd) stop(id, addr string) {
	e.running.Delete(id)
	ids := map[string]any{"NetworkID": e.network, "EndpointID": id}
	e.call("leave", "NetworkDriver.Leave", ids)
	if _, told := e.call("delete endpoint", "NetworkDriver.DeleteEndpoint", ids); !told {
		e.lost.Store(id, addr)
	}
	e.release("release address", addr)
}

// TestCase22KilledInACall kills the plugin in each call of a network's and a container's life. What dockerd sends then leaves nothing
// behind, and what its user tries again works at once.
func TestCase22KilledInACall(t *testing.T) {
	c := startCluster(t)
	var group errgroup.Group
	group.SetLimit(8)
	for _, version := range []int{20, 29} {
		for victim, moments := range map[string][]string{
			"pool": {before, unanswered}, "gateway": {before, unwritten, unanswered}, "network": {before, unanswered},
			"address": {before, unwritten, unanswered}, "endpoint": {before, unwritten, unanswered}, "join": {before, unwritten, unanswered},
			"leave": {before, unanswered}, "delete endpoint": {before, unanswered}, "release address": {before, unanswered},
			"release gateway": {before, unanswered}, "release pool": {before, unanswered}, "delete network": {before, unanswered},
		} {
			for _, moment := range moments {
				group.Go(func() error {
					name := fmt.Sprintf("%d-%s-%s", version, strings.ReplaceAll(victim, " ", "-"), moment)
					t.Run(name, func(t *testing.T) {
						e := &dockerd{rig: c.host(t, name), t: t, version: version, victim: victim, moment: moment}
						e.serveAPI()
						e.start(t, e.image(t))
						e.life()
						if !e.killed {
							t.Error("no such call")
						}
					})
					return nil
				})
			}
		}
	}
	_ = group.Wait()
}

func (e *dockerd) life() {
	t := e.t
	id := func(n int) string { return fmt.Sprintf("%064x", n) }
	for n := 1; !e.createNetwork(id(n)); n++ {
		if n > 1 {
			t.Fatal("the network is not created the second time either")
		}
	}
	for n := range 3 {
		endpoint := fmt.Sprintf("%08x%056x", n, n)
		if addr, ok := e.run(endpoint, ""); ok {
			e.stop(endpoint, addr)
		}
	}
	if e.victim == "delete endpoint" && e.moment == before { // the reconciler's, which knows of no such endpoint
		veths, _ := e.links.Veths()
		for _, end := range veths {
			_ = e.links.DelVeth("", end)
		}
	}
	e.later.Add(int64(3 * time.Minute))
	e.until(t, "leases whose endpoint never came", func() string {
		for k, lease := range e.cp.Local().Leases {
			if lease.Kind == store.LeaseEndpoint && lease.Freed.IsZero() {
				return fmt.Sprint(k)
			}
		}
		return ""
	})
	e.removeNetwork()
	if e.victim == "delete network" && e.moment == before { // as when Docker's list lacks it
		e.call("again", "NetworkDriver.DeleteNetwork", map[string]any{"NetworkID": e.network})
	}
	m := newModel() // knows of nothing, so nothing may be left
	e.until(t, "after all", func() string { return m.left(e.rig) })
}
