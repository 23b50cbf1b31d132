package metadata

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// waiting asks in the background and returns when the request waits.
func (w *world) waiting(path string) <-chan string {
	w.t.Helper()
	before := w.s.Stats().Waiting
	answer := make(chan string, 1)
	go func() {
		res, err := client(me).Get(w.url + path)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer res.Body.Close()
		var b [200]byte
		n, _ := res.Body.Read(b[:])
		answer <- string(b[:n])
	}()
	for end := time.Now().Add(patience); w.s.Stats().Waiting <= before; {
		if time.Now().After(end) {
			w.t.Fatal("it does not wait")
		}
	}
	return answer
}

func TestWaitForTheVersion(t *testing.T) {
	w := newWorld(t, Options{})
	version := w.get(me, "/latest/version")
	if got := w.get(me, "/latest/version?wait=true&value=old&maxWait=60"); got != version {
		t.Errorf("a version that is not known any more: %s, want %s at once", got, version)
	}
	if got := w.get(me, "/latest/version?wait=true&maxWait=0&value="+version); got != version {
		t.Errorf("maxWait=0: %s", got)
	}
	answer := w.waiting("/latest/version?wait=true&maxWait=60&value=" + version)
	w.put("secret", "10.44.64.3", "vault2") // nothing that the asker may see
	w.publish()
	select {
	case got := <-answer:
		t.Fatalf("woken by another network's change: %s", got)
	case <-time.After(50 * time.Millisecond):
	}
	w.put("default", "10.42.64.3", "db2")
	if got := <-answer; got == version || got != w.get(me, "/latest/version") {
		t.Errorf("woken with %q, was %q", got, version)
	}
}

func TestWaitForAnyPath(t *testing.T) {
	w := newWorld(t, Options{})
	answer := w.waiting("/latest/hosts/two/state?wait=true&maxWait=60&value=active")
	w.put("default", "10.42.64.3", "db2") // something else
	w.publish(far)
	if got := <-answer; got != "lost" {
		t.Error(got)
	}
	// Without a value: when it is no longer what it is now. What is not there yet can be waited for.
	answer = w.waiting("/latest/containers?wait=true&maxWait=60")
	later := w.waiting("/latest/containers/new/name?wait=true&maxWait=60")
	w.put("default", "10.42.64.4", "new")
	if got := <-answer; !strings.Contains(got, "=new\n") {
		t.Error(got)
	}
	if got := <-later; got != "new" {
		t.Error(got)
	}
}

func TestWaitsAreBounded(t *testing.T) {
	w := newWorld(t, Options{})
	var answers []<-chan string
	for range maxWaitsOf {
		answers = append(answers, w.waiting("/latest/version?wait=true&maxWait=60"))
	}
	if res, _ := w.ask(me, http.MethodGet, "/latest/version?wait=true&maxWait=60"); res.StatusCode != 429 || res.Header.Get("Retry-After") == "" {
		t.Error(res.Status)
	}
	if got := w.get(me, "/latest/self/container/name"); got != "me" {
		t.Error("without waiting:", got)
	}
	w.put("default", "10.42.64.3", "db2")
	for _, a := range answers {
		<-a
	}
	if n := w.s.Stats().Waiting; n != 0 {
		t.Errorf("%d still wait", n)
	}
}

func TestWaitEndsInTime(t *testing.T) {
	w := newWorld(t, Options{})
	version := w.get(me, "/latest/version")
	if got := w.get(me, fmt.Sprintf("/latest/version?wait=true&maxWait=1&value=%s", version)); got != version {
		t.Error(got)
	}
}
