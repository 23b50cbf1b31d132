package driver

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

const ctr1 = "cccc33334444"

// inspected is what Docker says of a container with one endpoint, a label and an alias.
func inspected(id, name, endpoint string) string {
	return fmt.Sprintf(`{"Id":%q,"Name":"/%s","Config":{"Labels":{"tier":"front","com.docker.compose.service":"web","com.docker.compose.project":"shop"}},
		"NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"32768"}]},
		"Networks":{"mesh":{"EndpointID":%q,"Aliases":["web",%q]}}}}`, id, name, endpoint, id[:12])
}

// running is a rig whose driver's Run runs during the test.
func running(t *testing.T) (r *rig, e *dockerd, pool string) {
	t.Helper()
	e, docker := startEngine(t)
	r = newRig(t, teststore.New(t), "one")
	r.docker = docker
	r.open()
	pool = r.network(net1, "blue")
	e.set(net1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.driver.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r, e, pool
}

func (r *rig) fact(endpointID string) store.Endpoint {
	e, _ := r.Store.Snapshot().FindEndpoint("blue", r.Local().Endpoints[endpointID].Addr)
	return e
}

func TestWhatDockerSaysOfAContainerReachesItsFact(t *testing.T) {
	r, e, pool := running(t)
	r.start(net1, pool, ep1, "") // 20.10 tells no name
	e.set(net1, "ep-"+ep1, "web", ep1)
	r.Wait("the name", func() bool { return r.fact(ep1).Name == "web" })
	r.Wait("the engine's version", func() bool { return slices.Contains(e.questions(), "GET /_ping") })
	if got := e.questions(); !slices.Equal(got, []string{"GET /_ping", "GET /containers/json", "GET /networks/" + net1}) {
		t.Errorf("asked %q during a start, which may wait for us", got)
	}
	e.setContainer(ctr1, inspected(ctr1, "web", ep1))
	e.set(net1, ctr1, "web", ep1)
	r.Wait("the rest", func() bool { return r.fact(ep1).Service == "web" })
	got := r.fact(ep1)
	want := []store.Port{{Proto: "tcp", Port: 80, HostPort: 32768}}
	if got.ContainerID != ctr1 || got.Project != "shop" || !maps.Equal(got.Labels, map[string]string{"tier": "front"}) || !slices.Equal(got.Ports, want) {
		t.Errorf("the fact: %+v", got)
	}
}

func TestRenamesAndReconnectsAreSeen(t *testing.T) {
	r, e, pool := running(t)
	r.start(net1, pool, ep1, "old")
	e.setContainer(ctr1, inspected(ctr1, "old", ep1))
	e.set(net1, ctr1, "old", ep1)
	r.Wait("the service", func() bool { return r.fact(ep1).Service == "web" })
	r.Wait("the stream", func() bool { return e.send(`{"Type":"network","Action":"connect","Actor":{"ID":"x"}}`) == 1 })

	e.setContainer(ctr1, inspected(ctr1, "new", ep1))
	e.set(net1, ctr1, "new", ep1)
	e.send(`{"Type":"container","Action":"rename","Actor":{"ID":"` + ctr1 + `","Attributes":{"name":"new","oldName":"/old"}}}`)
	r.Wait("the new name", func() bool { return r.fact(ep1).Name == "new" && slices.Equal(r.fact(ep1).Aliases, []string{"web"}) })

	// Docker restarts, and a rename is missed.
	if !r.driver.HearsDocker() {
		t.Error("it does not hear Docker")
	}
	e.fail(http.StatusServiceUnavailable)
	e.hangUp()
	r.Wait("the end of the stream", func() bool { return !r.driver.HearsDocker() })
	e.fail(0)
	e.setContainer(ctr1, inspected(ctr1, "newer", ep1))
	e.set(net1, ctr1, "newer", ep1)
	r.Wait("the newer name", func() bool { return r.fact(ep1).Name == "newer" })
	r.Wait("the stream again", func() bool { return e.send(`{"Type":"network","Action":"disconnect","Actor":{"ID":"x"}}`) == 1 })
}

func TestWithoutDockersSocketTheProtocolsNameIsKept(t *testing.T) {
	r := newRig(t, teststore.New(t), "one") // no API at all
	pool := r.network(net1, "blue")
	r.start(net1, pool, ep1, "web")
	r.Wait("the name", func() bool { return r.fact(ep1).Name == "web" })
}

func TestCase26AnEngineThatHangsDelaysNoCall(t *testing.T) {
	e, docker := startEngine(t)
	r := newRig(t, teststore.New(t), "one")
	r.docker = docker
	r.open()
	e.mu.Lock() // no question is answered
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.driver.Run(ctx) }()
	pool := r.network(net1, "blue")
	addr := r.start(net1, pool, ep1, "web")
	r.end(net1, pool, ep1, addr)
	cancel()
	if err := <-done; err != nil { // while questions are under way
		t.Error(err)
	}
	e.mu.Unlock()
	if len(r.Local().Endpoints) != 0 {
		t.Error("not all calls were carried out")
	}
}

func TestAnAnswerFromBeforeAChangeIsAskedForAgain(t *testing.T) {
	var k known
	at := k.now()
	k.stale("c")
	if k.note(at, "c", []string{"e"}); k.has("e", "c") {
		t.Error("an old answer counts")
	}
	if k.note(k.now(), "c", []string{"e", "f"}); !k.has("e", "c") || k.has("e", "d") {
		t.Error("a new one does not")
	}
	if !k.first("f") || k.first("f") || !k.first("e") {
		t.Error("an endpoint is warned of more than once")
	}
	k.only(map[string]store.LocalEndpoint{"f": {}})
	if k.first("f") || !k.first("e") {
		t.Error("what is warned of is forgotten too soon or too late")
	}
	if k.has("e", "c") || !k.has("f", "c") {
		t.Error("of an endpoint that has gone")
	}
	if k.stale(""); k.has("f", "c") {
		t.Error("not all are stale")
	}
}

func TestADescriptionOutlivesARestart(t *testing.T) {
	r, e, pool := dockerRig(t)
	r.start(net1, pool, ep1, "web")
	e.setContainer(ctr1, inspected(ctr1, "web", ep1))
	e.set(net1, ctr1, "web", ep1)
	if err := r.look(0); err != nil {
		t.Fatal(err)
	}
	r.restart()
	if got := r.Local().Endpoints[ep1]; got.Service != "web" || got.ContainerID != ctr1 || len(got.Ports) != 1 {
		t.Errorf("kept: %+v", got)
	}
	e.setContainer(ctr1, inspected(ctr1, "renamed", ep1)) // while the agent was away
	e.set(net1, ctr1, "renamed", ep1)
	if err := r.look(0); err != nil || r.Local().Endpoints[ep1].Name != "renamed" {
		t.Errorf("%+v, %v", r.Local().Endpoints[ep1], err)
	}
}
