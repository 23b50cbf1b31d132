package plugin

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/store"
)

// fewestPoints is less than the changes that the scenario makes; fewer would mean that some are not seen any more.
const fewestPoints = 60

// workers is how many scenarios run at a time: they wait more than they work.
const workers = 8

// TestCrashPoints kills the agent at every change that it makes in etcd, on disk or to links, from its first start to the end of its
// last network: before the change, and after it has taken effect and before the agent knows. The next agent goes on with what is
// there, and dockerd with what it does after a call that failed.
func TestCrashPoints(t *testing.T) {
	whole := &mortal{counts: map[string]int{}}
	t.Run("alive", func(t *testing.T) { startCluster(t).crash(t, 29, whole) })
	n := whole.total()
	t.Logf("figure: %d crash points: %v, each before and after its effect", n, whole.counts)
	if n < fewestPoints {
		t.Errorf("only %d points", n)
	}
	stride := 1
	if testing.Short() {
		stride = 12
	}
	type point struct {
		end  int
		done bool
	}
	points := make(chan point, 2*n)
	for end := 1; end <= n; end += stride {
		points <- point{end, false}
		points <- point{end, true}
	}
	close(points)
	var group errgroup.Group
	for worker := range min(workers, len(points)/2) {
		group.Go(func() error {
			t.Run(fmt.Sprint("etcd", worker), func(t *testing.T) {
				c := startCluster(t) // for one scenario at a time, in which its host is the only one
				for p := range points {
					t.Run(fmt.Sprintf("%d-%v", p.end, p.done), func(t *testing.T) {
						c.crash(t, []int{20, 29}[p.end%2], &mortal{end: p.end, done: p.done, counts: map[string]int{}})
					})
				}
			})
			return nil
		})
	}
	_ = group.Wait()
}

// crash plays the scenario with an agent that is killed.
func (c cluster) crash(t *testing.T, version int, m *mortal) {
	t.Helper()
	c = c.second(t)
	r := c.machine(t, c.id.Environment)
	r.mortal = m
	e := &dockerd{rig: r, t: t, version: version}
	defer func() {
		if t.Failed() {
			t.Logf("killed at change %d, %q", m.total(), m.last)
		}
	}()
	e.serveAPI()
	e.boot()
	e.scenario()
}

// boot is the start of the agent on a machine, the first one perhaps.
func (e *dockerd) boot() {
	e.t.Helper()
	for {
		err := e.found()
		if err == nil {
			err = e.try(e.t)
		}
		if err == nil {
			e.st.SetHost(store.Host{Name: "b"}) // without which nobody believes its facts
			return
		}
		if !e.mortal.isDead() {
			e.t.Fatal(err)
		}
		e.mortal = nil
	}
}

// found gives a host without an identity one, as the first start does.
func (e *dockerd) found() error {
	cp, err := store.OpenCheckpointAround(e.path, e.mortal.around())
	if err != nil {
		return err
	}
	defer cp.Close()
	if cp.Local().Identity.HostID != "" {
		return nil
	}
	return cp.Update(func(l *store.Local) error { l.Identity = e.c.id; return nil })
}

func (e *dockerd) scenario() {
	t := e.t
	tries := 0
	for ; !e.createNetwork(fmt.Sprintf("%064x", tries+1)); tries++ {
		if tries > 0 {
			t.Fatal("the network is not created the second time either")
		}
	}
	e.launch("web", "")
	e.launch("db", e.at(9))      // of the static range
	e.launch("far", e.at(50000)) // of a block that is taken for it
	for i := range 2 {
		id := e.launch(fmt.Sprint("job", i), "")
		e.check("while containers run")
		addr, _ := e.running.Load(id)
		e.stop(id, addr.(string))
	}
	e.check("when some have ended")
	e.running.Range(func(id, addr any) bool {
		e.stop(id.(string), addr.(string))
		return true
	})
	e.later.Add(int64(3 * time.Minute))
	e.removeNetwork()
	if e.lostNetwork {
		e.call("again", "NetworkDriver.DeleteNetwork", map[string]any{"NetworkID": e.network})
	}
	m := newModel() // knows of nothing, so nothing may be left
	e.settle("after all", func() string { return m.left(e.rig) })
	files, err := filepath.Glob(filepath.Dir(e.path) + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.Contains(f, ".new-") {
			t.Errorf("left on disk: %s", f)
		}
	}
	if info, err := os.Stat(e.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// at is an address of the network's pool.
func (e *dockerd) at(n uint32) string {
	a := netip.MustParsePrefix(e.subnet).Addr().As4()
	return netip.AddrFrom4([4]byte{a[0], a[1], byte(n >> 8), byte(n)}).String()
}

// launch is `docker run`, typed again if it fails for the agent's end, and what must hold then.
func (e *dockerd) launch(name, wish string) (id string) {
	e.t.Helper()
	for try := range 2 {
		id = fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, name, try)))
		if _, ok := e.run(id, wish); ok {
			return id
		}
	}
	e.t.Fatalf("%s does not start the second time either", name)
	return ""
}
