package store

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

var testTime = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

func tempCheckpoint(t testing.TB) (*Checkpoint, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	return openTestCheckpoint(t, path), path
}

func openTestCheckpoint(t testing.TB, path string) *Checkpoint {
	t.Helper()
	c, err := OpenCheckpoint(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func mustUpdate(t testing.TB, c *Checkpoint, fn func(*Local)) {
	t.Helper()
	if err := c.Update(func(l *Local) error { fn(l); return nil }); err != nil {
		t.Fatal(err)
	}
}

// fullLocal has one of everything.
func fullLocal(t testing.TB) *Local {
	id, err := FoundIdentity("test", "", "alpha")
	if err != nil {
		t.Fatal(err)
	}
	id.Router, id.EngineAPI = netip.MustParseAddr("100.127.0.1"), "1.56"
	addr := netip.MustParseAddr("10.42.64.2")
	pool := netip.MustParsePrefix("10.42.0.0/16")
	e := testEndpoint(id.HostID, 2)
	return &Local{
		Identity:  id,
		Networks:  map[string]LocalNetwork{"d1": {DockerID: "d1", Network: "default", PoolID: "p/1", Pool: pool, Gateway: netip.MustParseAddr("10.42.0.1"), Options: map[string]string{"a": "b"}, Since: testTime}},
		Pools:     map[string]LocalPool{"p/1": {ID: "p/1", Network: "default", Pool: pool, Confirmed: true, Since: testTime}},
		Leases:    map[AddrKey]Lease{{"default", addr}: {Kind: LeaseEndpoint, PoolID: "p/1", Name: "web", Since: testTime}},
		Blocks:    map[BlockKey]Claim{{"default", netip.MustParsePrefix("10.42.64.0/26")}: {V: 1, Host: id.HostID, Since: testTime}},
		Statics:   map[AddrKey]Claim{{"default", netip.MustParseAddr("10.42.0.9")}: {V: 1, Host: id.HostID}},
		Endpoints: map[string]LocalEndpoint{e.ID: {Endpoint: e, DockerNetwork: "d1", SandboxKey: "/var/run/docker/netns/x", Joined: true, Link: "ms01", MTU: 1438, IfName: "mesh0"}},
		Unused:    map[string]time.Time{"old": testTime, "older": {}},
		Managed:   map[string]ManagedPool{"g/default": {ID: "g/default", Network: "default", Pool: pool, DockerID: "d2", Since: testTime}},
		Allotted:  map[AddrKey]Allotment{{"default", addr}: {PoolID: "g/default", Since: testTime}},
	}
}

// testEndpoint is the n-th endpoint of a host in network default.
func testEndpoint(host string, n int) Endpoint {
	a := netip.MustParseAddr("10.42.64.0").As4()
	a[2], a[3] = a[2]+byte(n>>8), byte(n)
	return Endpoint{V: 1, ID: fmt.Sprintf("%064x", n), Host: host, Network: "default", Addr: netip.AddrFrom4(a),
		MAC: fmt.Sprintf("02:42:0a:2a:%02x:%02x", a[2], a[3]), Name: fmt.Sprintf("c%d", n), Aliases: []string{"web"},
		Service: "web", Project: "shop", Labels: map[string]string{"k": "v"}, Since: testTime,
		Ports: []Port{{Proto: "tcp", Port: 80, HostPort: 8080, HostIP: netip.MustParseAddr("192.0.2.1")}, {Proto: "udp", Port: 53}}}
}

func TestCheckpointKeepsEverythingAcrossReopening(t *testing.T) {
	c, path := tempCheckpoint(t)
	want := fullLocal(t)
	mustUpdate(t, c, func(l *Local) { *l = *want })
	if got := c.Local(); !reflect.DeepEqual(got, want) {
		t.Errorf("in memory: got %+v, want %+v", got, want)
	}
	c.Close()
	c = openTestCheckpoint(t, path)
	if got := c.Local(); !reflect.DeepEqual(got, want) {
		t.Errorf("from disk: got %+v, want %+v", got, want)
	}
	mustUpdate(t, c, func(l *Local) { *l = *(&Local{}).clone() })
	c.Close()
	c = openTestCheckpoint(t, path)
	if got := c.Local(); !reflect.DeepEqual(got, (&Local{}).clone()) {
		t.Errorf("after deleting all: got %+v", got)
	}
}

func TestCheckpointIsPrivate(t *testing.T) {
	_, path := tempCheckpoint(t)
	for _, p := range []string{path, path + ".snapshot"} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %o, want 600", p, info.Mode().Perm())
		}
	}
}

func TestCheckpointKeepsASecondAgentOut(t *testing.T) {
	_, path := tempCheckpoint(t)
	_, err := OpenCheckpoint(path)
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "another meshsec agent") {
		t.Errorf("got %v, want an error that names the file and the other agent", err)
	}
}

func TestCheckpointUpdateThatFailsChangesNothing(t *testing.T) {
	c, _ := tempCheckpoint(t)
	changed := c.Subscribe()
	boom := errors.New("boom")
	err := c.Update(func(l *Local) error {
		l.Pools["p"] = LocalPool{ID: "p"}
		return boom
	})
	if !errors.Is(err, boom) || len(c.Local().Pools) != 0 {
		t.Errorf("got %v and %v", err, c.Local().Pools)
	}
	func() {
		defer func() {
			if recover() != "oops" {
				t.Error("the panic of an update did not reach its caller")
			}
		}()
		_ = c.Update(func(l *Local) error { l.Pools["p"] = LocalPool{}; panic("oops") })
	}()
	if len(c.Local().Pools) != 0 {
		t.Error("an update that panicked changed something")
	}
	mustUpdate(t, c, func(*Local) {})
	select {
	case <-changed:
		t.Error("subscribers were told of no change")
	default:
	}
	mustUpdate(t, c, func(l *Local) { l.Pools["p"] = LocalPool{ID: "p"} })
	<-changed
	<-c.Changed()
}

func TestCheckpointLocalIsImmutable(t *testing.T) {
	c, _ := tempCheckpoint(t)
	before := c.Local()
	mustUpdate(t, c, func(l *Local) { l.Pools["p"] = LocalPool{ID: "p"} })
	if len(before.Pools) != 0 || len(c.Local().Pools) != 1 {
		t.Error("a Local changed after it was handed out")
	}
}

func TestCheckpointConcurrentUpdatesAreMerged(t *testing.T) {
	c, path := tempCheckpoint(t)
	const callers, each = 32, 20
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for n := range each {
				id := fmt.Sprintf("%d-%d", i, n)
				if err := c.Update(func(l *Local) error { l.Pools[id] = LocalPool{ID: id}; return nil }); err != nil {
					t.Error(err)
				}
				if _, ok := c.Local().Pools[id]; !ok {
					t.Error("not visible after Update")
				}
			}
		})
	}
	wg.Wait()
	if writes := c.journal.seq; writes >= callers*each {
		t.Errorf("%d writes for %d updates: nothing was merged", writes, callers*each)
	}
	c.Close()
	if got := len(openTestCheckpoint(t, path).Local().Pools); got != callers*each {
		t.Errorf("%d pools from disk, want %d", got, callers*each)
	}
}

func TestCheckpointClosed(t *testing.T) {
	c, _ := tempCheckpoint(t)
	c.Close()
	c.Close()
	if err := c.Update(func(*Local) error { return nil }); !errors.Is(err, errClosed) {
		t.Errorf("got %v", err)
	}
}
