package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// dump is a backup that can be put into a new cluster.
func (s *server) dump(t testing.TB) map[string]string {
	r, err := s.client(t).Get(callCtx(t), Prefix(testEnv), clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	kvs := map[string]string{}
	for _, kv := range r.Kvs {
		kvs[string(kv.Key)] = string(kv.Value)
	}
	return kvs
}

func conformOtherCluster(t *testing.T, s *server) {
	a, b := s.join(t, hostA), s.join(t, hostB)
	if err := a.Found(callCtx(t)); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, a, testNetwork("default", "10.42.0.0/16"))
	backup := s.dump(t)
	e, f := testEndpoint(hostA, 1), testEndpoint(hostB, 2)
	mustUpdate(t, a.cp, func(l *Local) { l.Endpoints[e.ID] = LocalEndpoint{Endpoint: e} })
	for n := range 30 { // so that the new cluster's revision is far below
		mustUpdate(t, b.cp, func(l *Local) {
			f.Name = fmt.Sprintf("c%d", n)
			l.Endpoints[f.ID] = LocalEndpoint{Endpoint: f}
		})
	}
	both := func(snap *Snapshot) bool {
		return snap.EndpointCount() == 2 && snap.Hosts["cccccccccccccccc"].Name == ""
	}
	a.await(t, "both endpoints", both)
	old := a.Snapshot()
	s.stop()
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	s.start(t)
	c := s.client(t)
	for key, value := range backup {
		if _, err := c.Put(callCtx(t), key, value); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range []*member{a, b} {
		m.await(t, "the new cluster, with the endpoints republished", func(snap *Snapshot) bool {
			return snap.ClusterID != old.ClusterID && both(snap)
		})
	}
}

// backup copies the stopped server's data.
func (s *server) backup(t testing.TB) (folder string) {
	folder = filepath.Join(t.TempDir(), "backup")
	if err := os.CopyFS(folder, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	return folder
}

// restore gives the stopped server the data of a backup.
func (s *server) restore(t testing.TB, folder string) {
	if err := errors.Join(os.RemoveAll(s.dir), os.CopyFS(s.dir, os.DirFS(folder))); err != nil {
		t.Fatal(err)
	}
}

func conformBackwards(t *testing.T, s *server) {
	a := s.join(t, hostA)
	s.stop()
	backup := s.backup(t)
	s.start(t)
	s.put(t, hostB, hostKey(hostB), s.hostFact(t, hostB, "beta", 1))
	e := testEndpoint(hostA, 1)
	mustUpdate(t, a.cp, func(l *Local) { l.Endpoints[e.ID] = LocalEndpoint{Endpoint: e} })
	a.await(t, "host and endpoint", func(snap *Snapshot) bool { return len(snap.Hosts) == 1 && snap.EndpointCount() == 1 })
	s.stop()
	s.restore(t, backup)
	s.start(t)
	a.await(t, "the backup's state, with the own endpoint republished", func(snap *Snapshot) bool {
		return len(snap.Hosts) == 0 && snap.EndpointCount() == 1
	})
}

func conformForeign(t *testing.T, s *server) {
	a := s.join(t, hostB) // the founder would put it right at once
	if err := a.Found(callCtx(t)); err != nil {
		t.Fatal(err)
	}
	a.SetHost(Host{Name: "beta"})
	a.await(t, "authority and host", func(snap *Snapshot) bool { return snap.CA != nil && len(snap.Hosts) == 1 })
	s.stop()
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	s.start(t) // an empty etcd in the place of ours
	eventually(t, "the refusal", func() bool {
		ok, why := a.Healthy()
		return !ok && strings.Contains(why, "does not hold this environment")
	})
	if len(a.Snapshot().Hosts) != 1 {
		t.Error("the facts of an etcd that is not ours were taken over")
	}
	if err := a.Found(callCtx(t)); err != nil {
		t.Fatal(err)
	}
	a.await(t, "recovery", func(snap *Snapshot) bool { return len(snap.Hosts) == 1 })
	eventually(t, "good health", func() bool { ok, _ := a.Healthy(); return ok })
	c := s.client(t)
	eventually(t, "the host's fact in the new etcd", func() bool {
		r, err := c.Get(callCtx(t), a.prefix+hostKey(hostB).String())
		return err == nil && len(r.Kvs) == 1
	})
}
