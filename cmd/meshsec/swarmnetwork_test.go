package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/engine"
)

// fakeNode plays one node's Docker: what it has, and what goes wrong.
type fakeNode struct {
	state    string // of the node in the Swarm
	manager  bool
	quorum   bool
	plugin   string // body of the answer about the plugin; empty: there is none
	networks []engine.Network
	raced    bool   // another manager makes the network first
	api      string // of the engine; from 1.52 on it tells no pools of configurations
}

func (n *fakeNode) serve(t *testing.T) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	fail := func(w http.ResponseWriter, status int, msg string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": msg})
	}
	mux.HandleFunc("GET /info", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"Swarm": map[string]any{"NodeID": "id1", "LocalNodeState": n.state, "ControlAvailable": n.manager}})
	})
	mux.HandleFunc("GET /nodes", func(w http.ResponseWriter, _ *http.Request) {
		if !n.quorum {
			fail(w, http.StatusServiceUnavailable, "the swarm does not have a leader")
			return
		}
		_, _ = w.Write([]byte(`[{"ID":"id2","Description":{"Hostname":"two"},"Status":{"Addr":"192.0.2.2"},"Spec":{"Role":"worker"}},
			{"ID":"id1","Description":{"Hostname":"one"},"Status":{"Addr":"192.0.2.1"},"Spec":{"Role":"manager"}}]`))
	})
	mux.HandleFunc("GET /plugins/", func(w http.ResponseWriter, r *http.Request) {
		if n.plugin == "" || r.URL.Path != "/plugins/meshsec/plugin:latest/json" {
			fail(w, http.StatusNotFound, "plugin not found")
			return
		}
		_, _ = w.Write([]byte(n.plugin))
	})
	mux.HandleFunc("GET /_ping", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", n.api)
		w.Header().Set("Server", "Docker/library-import (linux)")
	})
	mux.HandleFunc("GET /networks", func(w http.ResponseWriter, _ *http.Request) {
		list := slices.Clone(n.networks)
		for i := range list {
			if list[i].ConfigOnly {
				list[i].Driver = "null"
			}
			if list[i].ConfigOnly && !engine.ParseAPI(n.api).Less(engine.HidesConfigPools) {
				list[i].IPAM.Config = nil
			}
		}
		_ = json.NewEncoder(w).Encode(list)
	})
	mux.HandleFunc("POST /networks/create", func(w http.ResponseWriter, r *http.Request) {
		var made engine.Network
		if err := json.NewDecoder(r.Body).Decode(&made); err != nil || made.ConfigOnly && made.Scope != "" {
			fail(w, http.StatusBadRequest, "bad request")
			return
		}
		if made.ID = "id-" + made.Name; made.Scope == "" {
			made.Scope = "local"
		}
		n.networks = append(n.networks, made)
		if n.raced {
			fail(w, http.StatusConflict, "network with name "+made.Name+" already exists")
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"Id":"x"}`))
	})
	server := httptest.NewUnstartedServer(mux)
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	return socket
}

func healthy() *fakeNode {
	return &fakeNode{state: "active", manager: true, quorum: true, plugin: `{"Enabled":true}`, api: "1.41"}
}

// elsewhere is an agent on whose host the environment's network has not been made yet.
type elsewhere struct{ shown }

func (elsewhere) Networks() []control.Network {
	list := shown{}.Networks()
	list[0].Here = false
	return list
}
func (elsewhere) Status() control.Status { return control.Status{MTU: 1438} }

func TestSwarmNetworkOnAManagerAndOnAWorker(t *testing.T) {
	for _, api := range []string{"1.41", "1.56"} { // of engines 20.10 and 29
		t.Run(api, func(t *testing.T) { swarmNetworkOnBoth(t, api) })
	}
}

func swarmNetworkOnBoth(t *testing.T, api string) {
	n := healthy()
	n.api = api
	docker := n.serve(t)
	args := []string{"swarm", "network", "shop", "--subnet", "10.60.0.0/16", "--ipam-opt", "meshsec.network=shop", "-o", "meshsec.sticky=off", "--internal", "--docker", docker}
	out, err := run(t, elsewhere{}, args...)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{"shop-config made on this node", "shop made in the Swarm", "two (192.0.2.2, worker)",
		"docker network create --config-only --ipam-driver meshsec/plugin:latest --subnet 10.60.0.0/16 --ipam-opt meshsec.network=shop --opt meshsec.sticky=off --label meshsec.subnet=10.60.0.0/16 shop-config\n"} {
		if !strings.Contains(out, w) {
			t.Errorf("no %q in %s", w, out)
		}
	}
	if strings.Contains(out, "192.0.2.1") {
		t.Errorf("this node is among the others: %s", out)
	}
	if len(n.networks) != 2 || !n.networks[0].ConfigOnly || n.networks[0].Internal || n.networks[1].ConfigFrom.Network != "shop-config" ||
		!n.networks[1].Internal || !n.networks[1].Attachable || n.networks[1].IPAM.Driver != "" || n.networks[1].Options != nil {
		t.Errorf("made: %+v", n.networks)
	}
	out, err = run(t, elsewhere{}, args...)
	if err != nil || !strings.Contains(out, "shop-config is there on this node\nshop is there in the Swarm") || len(n.networks) != 2 {
		t.Errorf("again: %s, %v, %+v", out, err, n.networks)
	}
	for i, other := range []string{"10.61.0.0/16", "10.42.0.0/16"} {
		changed := slices.Clone(args)
		changed[4] = other
		if _, err := run(t, elsewhere{}, changed...); err == nil || !strings.Contains(err.Error(), "other options") {
			t.Errorf("%d: another pool: %v", i, err)
		}
	}
	n.networks = n.networks[:1] // partly done
	if out, err = run(t, elsewhere{}, args...); err != nil || !strings.Contains(out, "shop made in the Swarm") {
		t.Errorf("the rest: %s, %v", out, err)
	}

	worker := healthy()
	worker.manager, worker.quorum = false, false
	worker.networks = []engine.Network{{Name: "shop", Driver: defaultDriver, Scope: "swarm"}} // it has tasks already
	out, err = run(t, elsewhere{}, append(args[:len(args)-1:len(args)-1], worker.serve(t))...)
	if err != nil || len(worker.networks) != 2 ||
		!strings.Contains(out, "meshsec swarm network --subnet 10.60.0.0/16 --ipam-opt meshsec.network=shop --opt meshsec.sticky=off --internal shop\n") {
		t.Errorf("worker: %s, %v, %+v", out, err, worker.networks)
	}
}

// TestSwarmNetworkWithoutLabels: a configuration that was typed by hand, or made by an older version, has no labels. Where
// the engine does not tell its pool either, it counts as the wanted one, and the answer says so.
func TestSwarmNetworkWithoutLabels(t *testing.T) {
	for api, accepted := range map[string]bool{"1.41": false, "1.56": true} {
		n := healthy()
		n.api = api
		n.networks = []engine.Network{{Name: "mesh-config", ConfigOnly: true, Scope: "local", IPAM: engine.IPAM{Driver: defaultDriver}}}
		out, err := run(t, elsewhere{}, "swarm", "network", "mesh", "--subnet", "10.60.0.0/16", "--docker", n.serve(t))
		if accepted != (err == nil) || accepted && !strings.Contains(out, "it was not compared") {
			t.Errorf("API %s: %s, %v", api, out, err)
		}
	}
}

func TestSwarmNetworkOfTwoManagersAtOnce(t *testing.T) {
	n := healthy()
	n.raced = true
	if out, err := run(t, elsewhere{}, "swarm", "network", "mesh", "--docker", n.serve(t)); err != nil || !strings.Contains(out, "mesh made in the Swarm") {
		t.Errorf("%s, %v", out, err)
	}
}

// Whatever is refused leaves nothing behind.
func TestSwarmNetworkRefuses(t *testing.T) {
	bridge := engine.Network{ID: "b1", Name: "br", Driver: "bridge", Scope: "local", IPAM: engine.IPAM{Config: []engine.Subnet{{Subnet: "10.77.0.0/16"}}}}
	for _, c := range []struct {
		change func(*fakeNode)
		src    control.Source
		args   string
		words  []string
	}{
		{func(n *fakeNode) { n.state = "inactive" }, elsewhere{}, "mesh", []string{"no node of a Swarm", "inactive", "docker swarm init"}},
		{func(n *fakeNode) { n.state = "locked" }, elsewhere{}, "mesh", []string{"locked"}},
		{func(n *fakeNode) { n.quorum = false }, elsewhere{}, "mesh", []string{"does not have a leader"}},
		{func(n *fakeNode) { n.plugin = "" }, elsewhere{}, "mesh", []string{"no managed plugin meshsec/plugin:latest", "--driver"}},
		{func(n *fakeNode) { n.plugin = `{"Enabled":false}` }, elsewhere{}, "mesh", []string{"disabled"}},
		{func(n *fakeNode) { n.networks[0].Name = "mesh" }, elsewhere{}, "mesh", []string{"mesh is taken", "driver bridge", "scope local"}},
		{func(n *fakeNode) { n.networks[0].Name = "mesh-config" }, elsewhere{}, "mesh", []string{"mesh-config is taken"}},
		{func(n *fakeNode) {
			n.networks = append(n.networks, engine.Network{Name: "mesh-config", ConfigOnly: true, Scope: "local", IPAM: engine.IPAM{Driver: defaultDriver}})
		}, elsewhere{}, "mesh --subnet 10.60.0.0/16", []string{"mesh-config", "other options"}},
		{nil, elsewhere{}, "mesh --subnet 10.77.5.0/24", []string{"10.77.0.0/16", "Docker's network br"}},
		{nil, elsewhere{}, "mesh --subnet 10.42.0.0/17", []string{"overlaps", "network default"}},
		{nil, elsewhere{}, "mesh --subnet 10.60.0.0/16 --ipam-opt meshsec.network=default", []string{"has the pool 10.42.0.0/16"}},
		{nil, elsewhere{}, "mesh --subnet 127.0.0.0/8", []string{"can't use"}},
		{nil, elsewhere{}, "mesh --subnet 10.60.0.0/16 --gateway 10.61.0.1", []string{"--gateway 10.61.0.1"}},
		{nil, elsewhere{}, "mesh --gateway 10.61.0.1", []string{"--gateway 10.61.0.1"}},
		{nil, elsewhere{}, "mesh --ipam-opt wrong=1", []string{"wrong is not known"}},
		{nil, elsewhere{}, "mesh -o meshsec.mtu=9000", []string{"1438"}},
		{nil, elsewhere{}, "mesh --driver meshsec", []string{"no tag", "meshsec:latest"}},
		{nil, shown{}, "mesh", []string{"already on this host", "meshsec.network=NAME"}},
	} {
		n := healthy()
		n.networks = []engine.Network{bridge}
		if c.change != nil {
			c.change(n)
		}
		before := len(n.networks)
		_, err := run(t, c.src, slices.Concat([]string{"swarm", "network", "--docker", n.serve(t)}, strings.Fields(c.args))...)
		if err == nil {
			t.Errorf("%s: accepted", c.args)
			continue
		}
		for _, w := range c.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: no %q in %v", c.args, w, err)
			}
		}
		if len(n.networks) != before {
			t.Errorf("%s: something was made: %+v", c.args, n.networks)
		}
	}
}
