package driver

import (
	"context"
	"testing"
	"time"

	"github.com/meshsec/meshsec/engine"
	"github.com/meshsec/meshsec/store"
)

const ctr2 = "dddd33334444"

func TestWhoIsStarting(t *testing.T) {
	e, docker := startEngine(t)
	d := &Driver{o: Options{Docker: docker, Now: time.Now}}
	former := []store.Lease{{Name: "web", Container: ctr1}, {Name: "db", Container: ctr2}, {Name: "gone", Container: "eeee33334444"}, {}}
	who := func(starting ...string) string {
		e.starts(starting...)
		id, name := d.Starting(context.Background(), former)
		return id + "/" + name
	}
	for id, name := range map[string]string{ctr1: "www", ctr2: "db", "ffff33334444": "other"} {
		e.setName(id, name)
	}
	if got := who(ctr1); got != "/" {
		t.Errorf("%s, though Docker has not told its containers", got)
	}
	names, err := docker.Names(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	d.containers.begin(names)
	is := func(want, starting string) {
		t.Helper()
		got := who(starting)
		for end := time.Now().Add(10 * time.Second); got == "/" && time.Now().Before(end); { // a machine that is slow itself is never sure
			got = who(starting)
		}
		if got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
	is(ctr1+"/www", ctr1) // by its ID, whatever it is called now
	is(ctr2+"/db", ctr2)
	if got := who() + who(ctr1, ctr2) + who("ffff33334444"); got != "///" {
		t.Errorf("%s, which is not clear", got)
	}

	// One that is made in the place of another.
	event := func(action, id, name string) {
		if e.setName(id, name); action == "destroy" {
			e.mu.Lock()
			delete(e.containers, id)
			e.mu.Unlock()
		}
		d.containers.change(engine.Event{Action: action, Container: id, Name: name}, time.Now())
	}
	event("destroy", ctr2, "db")
	event("create", "abcd33334444", "new")
	if got := who("abcd33334444"); got != "/" {
		t.Errorf("%s is nobody's heir", got)
	}
	if got := who("abcd33334444", ctr1); got != "/" {
		t.Errorf("%s, though a new container starts, too", got)
	}
	event("rename", "abcd33334444", "db")
	event("connect", "abcd33334444", "")
	is("abcd33334444/db", "abcd33334444") // the new container of the old name
	d.containers.end()
	if got := who(ctr1); got != "/" {
		t.Errorf("%s, from a Docker that does not tell of changes any more", got)
	}
}

func TestContainersAreNewForAMinute(t *testing.T) {
	var c containers
	now := time.Now()
	c.change(engine.Event{Action: "create", Container: "c1", Name: "web"}, now) // nothing is known, so nothing is noted
	if _, others := c.heirs(nil, now); others != nil {
		t.Errorf("%q", others)
	}
	c.begin(map[string]string{})
	c.change(engine.Event{Action: "create", Container: "c1", Name: "web"}, now)
	if heirs, others := c.heirs(nil, now.Add(fresh)); len(heirs) != 0 || len(others) != 1 {
		t.Errorf("%v, %q", heirs, others)
	}
	if _, others := c.heirs(nil, now.Add(fresh+1)); others != nil {
		t.Errorf("%q", others)
	}
}

// The whole of it, with 20.10's nameless requests.
func TestARestartKeepsTheAddress(t *testing.T) {
	r, e, pool := running(t)
	e.setName(ctr1, "web")
	first := r.start(net1, pool, ep1, "")
	e.setContainer(ctr1, inspected(ctr1, "web", ep1))
	e.set(net1, ctr1, "web", ep1)
	r.Wait("the name", func() bool { return r.fact(ep1).Service == "web" })
	r.Wait("the stream", func() bool {
		return e.send(`{"Type":"container","Action":"rename","Actor":{"ID":"`+ctr1+`","Attributes":{"name":"web"}}}`) == 1
	})
	r.Wait("the containers", func() bool {
		heirs, _ := r.driver.containers.heirs([]store.Lease{{Name: "web"}}, time.Now())
		return len(heirs) == 1
	})
	r.end(net1, pool, ep1, first)
	e.set(net1)
	other := r.start(net1, pool, ep2, "") // an old one, or one that is connected while it runs
	if other == first {
		t.Error("the address went to another container")
	}
	e.starts(ctr1)
	r.Wait("the address", func() bool { // a machine that is slow itself is never sure
		again := r.start(net1, pool, ep1, "")
		if again != first {
			r.end(net1, pool, ep1, again)
		}
		return again == first
	})
}
