package metadata

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/directory"
)

// The numbers are those of the list in docs/services.md.

// TestComplaint12AChangeIsNoReload: of a change only what is new is made; who asked before keeps a whole tree, and nobody who may
// not see the change is woken.
func TestComplaint12AChangeIsNoReload(t *testing.T) {
	w := newWorld(t, Options{})
	before, _ := w.board.Now()
	version := before.Version(before.Asker(other))
	for i := range 100 {
		w.put("default", fmt.Sprintf("10.42.70.%d", i), fmt.Sprint("c", i))
	}
	now, _ := w.board.Now()
	if now.Version(now.Asker(other)) != version {
		t.Error("a change on another network changes the version")
	}
	if before.Len()+100 != now.Len() {
		t.Errorf("%d and %d", before.Len(), now.Len())
	}
}

// TestComplaint13SelfIsThereFromTheStart: from the checkpoint, before any fact has come from etcd.
func TestComplaint13SelfIsThereFromTheStart(t *testing.T) {
	w := newWorld(t, Options{})
	w.board.Set(directory.New(self).Next(directory.New(self).Snapshot(), w.local, nil))
	for path, want := range map[string]string{"container/name": "me", "host/name": "one", "network/subnets/0/network_address": "10.42.0.0/16", "container/host_uuid": self} {
		if got := w.get(me, "/latest/self/"+path); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
}

// TestComplaint14SelfIsWhoAsks: also when another host has an endpoint that claims to have the same address.
func TestComplaint14SelfIsWhoAsks(t *testing.T) {
	w := newWorld(t, Options{})
	w.put("default", me.String(), "thief")
	if got := w.get(me, "/latest/self/container/name"); got != "me" {
		t.Error(got)
	}
}

// TestComplaint15WholeDocumentsOnly: whatever came between two questions, an answer is of one moment; names that point to each other
// are just two names.
func TestComplaint15WholeDocumentsOnly(t *testing.T) {
	w := newWorld(t, Options{})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				w.publish([]string{"", far}[i%2])
			}
		}
	}()
	for range 50 {
		body := w.get(me, "/latest", "Accept", "application/json")
		lost, disconnected := strings.Count(body, `"state":"lost"`), strings.Count(body, `"agent_state":"disconnected"`)
		if lost != 2*disconnected { // the host and its one container
			t.Fatalf("%d lost, %d disconnected: %s", lost, disconnected, body)
		}
	}
	close(stop)
	<-done
}

// TestComplaint16TheVersionIsQuiet: facts that come again, as they do every minute, change nothing.
func TestComplaint16TheVersionIsQuiet(t *testing.T) {
	w := newWorld(t, Options{})
	version := w.get(me, "/latest/version")
	answer := w.waiting("/latest/version?wait=true&maxWait=60&value=" + version)
	for range 20 {
		next := *w.snap
		next.Revision++
		next.Taken = time.Now()
		w.snap = &next
		w.publish()
	}
	if got := w.get(me, "/latest/version"); got != version {
		t.Errorf("%s, was %s", got, version)
	}
	w.put("default", "10.42.64.9", "new")
	<-answer
}

// TestComplaint17NothingOfOthersNetworks: no name, label, address or host of a container on a network that the asker is not on.
func TestComplaint17NothingOfOthersNetworks(t *testing.T) {
	w := newWorld(t, Options{})
	for _, accept := range []string{"application/json", "application/yaml"} {
		body := w.get(other, "/latest", "Accept", accept)
		for _, word := range []string{"10.42.", "10.44.", "db", "vault", "secret", "front"} {
			if strings.Contains(body, word) {
				t.Errorf("%s in %s", word, body)
			}
		}
	}
}
