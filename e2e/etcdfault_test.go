package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// etcdFaults: etcd is slow, is compacted while a host is away, and is full. Containers of two hosts that have blocks talk all along, and what
// needs no etcd works: each test of them is a part of TestExternalEtcd, whose cluster has an etcd that one can do all of it to.
func etcdFaults(t *testing.T, s *suite, etcd etcdServer, a, b *testnet.Container) {
	t.Helper()
	t.Run("Slow", func(t *testing.T) { etcdSlow(t, s, etcd, a, b) })
	t.Run("Compacted", func(t *testing.T) { etcdCompacted(t, s, etcd, a, b) })
	t.Run("OutOfSpace", func(t *testing.T) { etcdOutOfSpace(t, s, etcd, a, b) })
}

// slowly lets a process work for 20 ms of each 200, until stop is called.
func slowly(t *testing.T, p *testnet.Process) (stop func()) {
	t.Helper()
	end, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		var err error
		for i := 0; err == nil; i++ {
			switch i % 10 {
			case 0:
				err = p.Pause()
			case 9:
				err = p.Signal(unix.SIGCONT) // to itself only: what is around it stays paused, and misses nothing
			}
			select {
			case <-tick.C:
				continue
			case <-end:
				err = errors.Join(err, p.Pause(), p.Resume(t.Context()))
			}
			break
		}
		ended <- err
	}()
	return func() {
		close(end)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// untouched: without etcd's help new keys are agreed on, names are answered, and containers of the host's own blocks are run, restarted,
// stopped, started and removed.
func untouched(t *testing.T, s *suite, a, b *testnet.Container) {
	t.Helper()
	h := b.Host
	if out, err := a.Host.Meshsec(t.Context(), "rekey"); err != nil {
		t.Error(err, out)
	}
	s.reach(t, a, b.Addr)
	s.reach(t, b, a.Addr)
	c := start(t, h, mesh, "life", viaDocker...)
	finds(t, c, a.Name+".default.meshsec.internal", a.Addr.String())
	docker(t, h, []string{"restart", "-t", "0", c.Name}, []string{"stop", "-t", "0", c.Name}, []string{"start", c.Name})
	c, err := h.Container(t.Context(), mesh, c.Name)
	if err != nil {
		t.Fatal(err)
	}
	s.reach(t, c, b.Addr)
	docker(t, h, []string{"rm", "-f", c.Name})
}

// agree waits until the hosts have the same facts about endpoints, one named there among them and one named gone not.
func agree(t *testing.T, hosts []*testnet.Host, there, gone string) {
	t.Helper()
	eventually(t, "the same facts on all hosts", func() error {
		var first []string
		for _, h := range hosts {
			var endpoints []control.Endpoint
			if err := h.MeshsecJSON(t.Context(), &endpoints, "endpoints"); err != nil {
				return err
			}
			var list []string
			for _, e := range endpoints {
				text, err := json.Marshal(e)
				if err != nil {
					return err
				}
				list = append(list, string(text))
			}
			slices.Sort(list)
			all := strings.Join(list, "\n")
			if there != "" && !strings.Contains(all, `"`+there+`"`) || gone != "" && strings.Contains(all, `"`+gone+`"`) {
				return fmt.Errorf("%s has\n%s", h.Name, all)
			}
			if first == nil {
				first = list
			} else if len(first) != len(list) {
				return fmt.Errorf("%s has %d endpoints, another %d", h.Name, len(list), len(first))
			}
		}
		return nil
	})
}

// etcdSlow: everything takes longer that needs it, and nothing else.
func etcdSlow(t *testing.T, s *suite, etcd etcdServer, a, b *testnet.Container) {
	stop := sync.OnceFunc(etcd.slow(t))
	defer stop()
	untouched(t, s, a, b)
	began := time.Now()
	_, err := b.Host.Docker(t.Context(), "run", "-d", "--name", "late", "--network", mesh, "--ip", "10.42.3.4", testnet.Image)
	if err != nil && !strings.Contains(err.Error(), "etcd") {
		t.Errorf("an error that does not say what is wrong: %v", err)
	}
	t.Logf("figure: a static address from an etcd that works for a moment each 200 ms: %t after %.1f s", err == nil, time.Since(began).Seconds())
	stop()
	remove(t, b.Host, "late")
	agree(t, s.Hosts, b.Name, "late")
}

// etcdCompacted: a host is cut off while facts change and their history is deleted. It can't follow from where it was, and has them all the same.
func etcdCompacted(t *testing.T, s *suite, etcd etcdServer, a, b *testnet.Container) {
	away := b.Host
	if err := s.SetPort(t.Context(), away, false); err != nil {
		t.Fatal(err)
	}
	meanwhile := start(t, a.Host, mesh, "meanwhile")
	compact(t, etcd)
	etcd.stop(t) // with it ends the connection that would bring what is on its way
	etcd.start(t)
	if err := s.SetPort(t.Context(), away, true); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	agree(t, s.Hosts, "meanwhile", "")
	t.Logf("figure: all facts %.1f s after the cable was back", time.Since(began).Seconds())
	s.reach(t, b, meanwhile.Addr)
}

// compact deletes etcd's history, once all that this host has to say has come.
func compact(t *testing.T, etcd etcdServer) {
	t.Helper()
	var revision int64
	eventually(t, "etcd's revision", func() error {
		out, err := etcd.ctl(t, "get", "meanwhile", "-w", "json")
		if err != nil {
			return err
		}
		var answer struct{ Header struct{ Revision int64 } }
		err = json.Unmarshal([]byte(out), &answer)
		revision = answer.Header.Revision
		return err
	})
	if out, err := etcd.ctl(t, "compact", fmt.Sprint(revision), "--physical"); err != nil && !strings.Contains(err.Error(), "has been compacted") {
		t.Fatal(err, out)
	}
}

// etcdOutOfSpace: it is full, so it can be read but not written. What needs a write is refused with what to do; after that all facts come.
func etcdOutOfSpace(t *testing.T, s *suite, etcd etcdServer, a, b *testnet.Container) {
	h := b.Host
	full := false
	leaves := start(t, a.Host, mesh, "leaves")
	for i := 0; i < 100 && !full; i++ {
		_, err := etcd.ctl(t, "put", "junk")
		full = err != nil && strings.Contains(err.Error(), "space exceeded")
		if err != nil && !full {
			t.Fatal(err)
		}
	}
	if !full {
		t.Fatal("it can't be filled, so this shows nothing")
	}
	untouched(t, s, a, b)
	words := []string{"out of space", "2379", "etcdctl alarm disarm"}
	refused(t, h, words, "run", "--name", "claimed", "--network", mesh, "--ip", "10.42.3.5", testnet.Image)
	remove(t, h, "claimed")
	refused(t, h, words, with("--ipam-opt", "meshsec.network=unwritten", "unwritten")...)
	eventually(t, "status", func() error {
		out, err := h.Meshsec(t.Context(), "status")
		if err == nil || !strings.Contains(out, "out of space") {
			return errors.Join(err, errors.New(out))
		}
		return nil
	})
	told := start(t, h, mesh, "told")
	remove(t, a.Host, leaves.Name)

	began := time.Now()
	compact(t, etcd)
	for _, words := range [][]string{{"defrag"}, {"alarm", "disarm"}} {
		if out, err := etcd.ctl(t, words...); err != nil {
			t.Fatal(err, out)
		}
	}
	t.Logf("figure: compact, defrag and disarm took %.1f s", time.Since(began).Seconds())
	began = time.Now()
	agree(t, s.Hosts, "told", leaves.Name)
	t.Logf("figure: all facts %.1f s after the alarm was disarmed", time.Since(began).Seconds())
	s.reach(t, a, told.Addr)
	s.reach(t, start(t, h, mesh, "claimed", "--ip", "10.42.3.5"), a.Addr)
}
