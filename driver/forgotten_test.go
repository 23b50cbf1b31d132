package driver

import (
	"context"
	"testing"
	"time"

	"github.com/meshsec/meshsec/engine"
	"github.com/meshsec/meshsec/internal/teststore"
)

// look compares once, after some time.
func (r *rig) look(after time.Duration) error {
	r.Advance(after)
	_, err := r.driver.compare(context.Background())
	return err
}

func dockerRig(t *testing.T) (*rig, *dockerd, string) {
	e, docker := startEngine(t)
	r := newRig(t, teststore.New(t), "one")
	r.docker = docker
	r.open()
	return r, e, r.network(net1, "blue")
}

func TestCase23EndpointsThatDockerForgot(t *testing.T) {
	r, e, pool := dockerRig(t)
	lost := r.start(net1, pool, ep1, "web")
	r.start(net1, pool, ep2, "db")
	e.set(net1, "cccc", "db", ep2)
	for _, after := range []time.Duration{0, young - time.Second, time.Second, forgotten - time.Second} {
		if err := r.look(after); err != nil || len(r.Local().Endpoints) != 2 {
			t.Fatalf("collected too early, or %v", err)
		}
	}
	// What was missing once and is there again starts anew.
	e.set(net1, "cccc", "db", ep2, "dddd", "web", ep1)
	if err := r.look(time.Second); err != nil {
		t.Fatal(err)
	}
	e.set(net1, "cccc", "db", ep2)
	if err := r.look(time.Second); err != nil || len(r.Local().Endpoints) != 2 {
		t.Fatalf("collected too early, or %v", err)
	}
	if err := r.look(forgotten); err != nil {
		t.Fatal(err)
	}
	if _, ok := r.Local().Endpoints[ep1]; ok || len(r.Local().Endpoints) != 1 {
		t.Errorf("left: %v", r.Local().Endpoints)
	}
	if _, ok := veth(r, ep1); ok {
		t.Error("the link is left")
	}
	for k, lease := range r.Local().Leases {
		if k.Addr.String()+"/16" == lost && lease.Freed.IsZero() {
			t.Error("the address is left")
		}
	}
}

func TestNothingIsCollectedWithoutAnAnswer(t *testing.T) {
	r, e, pool := dockerRig(t)
	r.start(net1, pool, ep1, "web")
	for _, status := range []int{500, 503} {
		e.fail(status)
		for range 5 {
			if err := r.look(time.Hour); err == nil {
				t.Error("no error")
			}
		}
	}
	r.docker = engine.New(t.TempDir() + "/none.sock")
	r.open()
	for range 5 {
		if err := r.look(time.Hour); err == nil {
			t.Error("no error")
		}
	}
	if len(r.Local().Endpoints) != 1 || len(r.Local().Networks) != 1 {
		t.Errorf("collected: %+v", r.Local())
	}
}

func TestNothingIsCollectedBetweenCreateEndpointAndItsListing(t *testing.T) {
	r, e, pool := dockerRig(t)
	r.Advance(time.Hour)
	e.set(net1)
	r.start(net1, pool, ep1, "web")
	for range 3 {
		if err := r.look(forgotten); err != nil || len(r.Local().Endpoints) != 1 {
			t.Fatalf("collected, or %v", err)
		}
	}
	r.Advance(-time.Hour) // a clock that is set back makes nothing older
	for range 3 {
		if err := r.look(0); err != nil || len(r.Local().Endpoints) != 1 {
			t.Fatalf("collected, or %v", err)
		}
	}
}

func TestCase23NetworksThatDockerForgot(t *testing.T) {
	r, e, pool := dockerRig(t)
	r.start(net1, pool, ep1, "web")
	e.set(net1, "cccc", "web", ep1)
	if err := r.look(young); err != nil {
		t.Fatal(err)
	}
	e.forget(net1)
	if err := r.look(0); err != nil || len(r.Local().Networks) != 1 {
		t.Fatalf("collected at first sight, or %v", err)
	}
	if err := r.look(forgotten); err != nil {
		t.Fatal(err)
	}
	r.empty()
	r.network(net2, "blue")
}

// TestNothingIsKeptOfWhatIsDeleted: an endpoint that Docker's list lacks, deleted before it was missing for long enough.
func TestNothingIsKeptOfWhatIsDeleted(t *testing.T) {
	r, e, pool := dockerRig(t)
	r.start(net1, pool, ep1, "web")
	e.set(net1)
	if err := r.look(young); err != nil || len(r.driver.missing) != 1 {
		t.Fatalf("%v missing, %v", r.driver.missing, err)
	}
	if err := r.driver.DeleteEndpoint(t.Context(), net1, ep1); err != nil {
		t.Fatal(err)
	}
	if err := r.look(time.Second); err != nil || len(r.driver.missing) != 0 {
		t.Errorf("%v missing, %v", r.driver.missing, err)
	}
}

// TestANetworkThatDockerGaveUp is deleted when Docker says that it has none, and only then.
func TestANetworkThatDockerGaveUp(t *testing.T) {
	r, e, _ := dockerRig(t)
	e.set(net1)
	if r.driver.Abandoned(t.Context(), net1) {
		t.Error("deleted, though Docker has it")
	}
	e.forget(net1)
	e.fail(500)
	if r.driver.Abandoned(t.Context(), net1) || len(r.Local().Networks) != 1 {
		t.Error("deleted without an answer")
	}
	e.fail(0)
	if !r.driver.Abandoned(t.Context(), net1) {
		t.Error("not deleted")
	}
	r.empty()
	r.docker = nil
	r.open()
	r.network(net2, "blue")
	if r.driver.Abandoned(t.Context(), net2) {
		t.Error("deleted without an API")
	}
}
