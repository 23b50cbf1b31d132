package driver

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/internal/teststore"
)

// named asks for an endpoint with a name of its interface.
func (r *rig) named(pool, id, name string) (EndpointReply, error) {
	return r.driver.CreateEndpoint(context.Background(), EndpointRequest{NetworkID: net1, EndpointID: id,
		Address: r.address(pool, "", "web"), Options: map[string]any{optionIfName: name}})
}

// TestInterfaceName: Join answers the name that was asked for, each time, also after a restart of the agent.
func TestInterfaceName(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	docker, client := startEngine(t)
	docker.version = "Docker/29.8.0 (linux) 1.56"
	r.docker = client
	r.restart()
	pool := r.network(net1, "blue")
	req := EndpointRequest{NetworkID: net1, EndpointID: ep1, Address: r.address(pool, "", "web"), Options: map[string]any{optionIfName: "mesh0"}}
	for range 2 {
		if _, err := r.driver.CreateEndpoint(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		r.restart()
		reply, err := r.driver.Join(t.Context(), net1, ep1, "/run/docker/netns/web", nil)
		if err != nil || reply.DstName != "mesh0" || reply.DstPrefix != "eth" {
			t.Errorf("got %+v, %v", reply, err)
		}
	}
	other := req
	other.Options = map[string]any{optionIfName: "other0"}
	_, err := r.driver.CreateEndpoint(t.Context(), other)
	refused(t, err, "exists", `"mesh0"`)

	req = EndpointRequest{NetworkID: net1, EndpointID: ep2, Address: r.address(pool, "", "db"), Options: map[string]any{optionIfName: ""}}
	if _, err := r.driver.CreateEndpoint(t.Context(), req); err != nil {
		t.Error(err)
	}
	if reply, err := r.driver.Join(t.Context(), net1, ep2, "/run/docker/netns/db", nil); err != nil || reply.DstName != "" {
		t.Errorf("no name was asked for: %+v, %v", reply, err)
	}
}

// TestInterfaceNameByTheEngine: what an engine can do is what it says now or, while it does not answer, what it said last.
func TestInterfaceNameByTheEngine(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	pool := r.network(net1, "blue")
	_, err := r.named(pool, ep1, "mesh0") // Docker's socket can't be asked
	refused(t, err, optionIfName, "has not answered yet", "leave it out")

	docker, client := startEngine(t)
	r.docker = client
	docker.change(func() { docker.status = 503 }) // it starts, and has never told its version
	r.restart()
	_, err = r.named(pool, ep1, "mesh0")
	refused(t, err, optionIfName, "has not answered yet")

	docker.change(func() { docker.status, docker.version = 0, "Docker/29.7.2 (linux) 1.55" })
	_, err = r.named(pool, ep1, "mesh0")
	refused(t, err, optionIfName, "API 1.55", "drops the name", "1.56")

	docker.change(func() { docker.version = "Docker/library-import (linux) 1.56" })
	if _, err := r.named(pool, ep1, "mesh0"); err != nil {
		t.Error(err)
	}
	docker.change(func() { docker.status = 503 })
	r.restart() // a boot: its containers start before it answers
	if _, err := r.named(pool, ep2, "mesh1"); err != nil {
		t.Error(err)
	}
	if n := len(r.Local().Endpoints); n != 2 {
		t.Errorf("%d endpoints", n)
	}
}

// TestInterfaceNamesThatAreRefused: a name that the kernel or Docker would not take as it is.
func TestInterfaceNamesThatAreRefused(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	docker, client := startEngine(t)
	docker.version = "Docker/29.8.0 (linux) 1.56"
	r.docker = client
	r.restart()
	pool := r.network(net1, "blue")
	for _, name := range []string{"a234567890123456", "a/b", "a b", "a:b", "a\tb", "veth%d", "x%", ".", "..", "lo", "all", "default", "é", "a\x00", "\x7f"} {
		_, err := r.named(pool, ep1, name)
		refused(t, err, optionIfName, "can't be an interface's name", "1 to 15", "lo, all, default")
	}
	_, err := r.driver.CreateEndpoint(t.Context(), EndpointRequest{NetworkID: net1, EndpointID: ep1, Address: r.address(pool, "", "web"),
		Options: map[string]any{optionIfName: 7}})
	refused(t, err, optionIfName, `"7"`)
	if n := len(r.Local().Endpoints); n != 0 {
		t.Errorf("%d endpoints", n)
	}
	for _, name := range []string{"a23456789012345", "eth0", "eth1", "wg-0", "x.1", "lo0"} {
		if !validIfName(name) {
			t.Errorf("%s is refused", name)
		}
	}
}

// TestEngineIsWarnedOfOnce: a flawed engine is logged once for each version, and named in the status.
func TestEngineIsWarnedOfOnce(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	docker, client := startEngine(t)
	docker.version = "Docker/29.2.1 (linux) 1.53"
	r.docker = client
	r.open()
	var log bytes.Buffer
	logger := logrus.New()
	logger.SetOutput(&log)
	r.driver.o.Log = logrus.NewEntry(logger)
	for range 3 {
		if _, err := r.driver.askEngine(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "GO-2026-4883"); n != 1 || r.driver.Engine().Flaw() == "" {
		t.Errorf("said %d times: %s", n, log.String())
	}
	docker.change(func() { docker.version = "Docker/29.3.1 (linux) 1.54" })
	if _, err := r.driver.askEngine(t.Context()); err != nil || r.driver.Engine().Flaw() != "" || strings.Count(log.String(), "GO-2026-4883") != 1 {
		t.Errorf("after the upgrade: %v, %v, %s", r.driver.Engine(), err, log.String())
	}

	// An engine that is replaced by an older one drops names that containers have asked for.
	docker.change(func() { docker.version = "Docker/29.8.0 (linux) 1.56" })
	if _, err := r.named(r.network(net1, "blue"), ep1, "mesh0"); err != nil {
		t.Fatal(err)
	}
	docker.change(func() { docker.version = "Docker/29.7.2 (linux) 1.55" })
	if _, err := r.driver.askEngine(t.Context()); err != nil || !strings.Contains(log.String(), "drops mesh0") {
		t.Errorf("%v: %s", err, log.String())
	}
}
