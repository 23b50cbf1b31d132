package store

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// etcdctl runs the distribution's command as root, whose certificate is by the same authority.
func (s *server) etcdctl(t testing.TB) func(line string) {
	t.Helper()
	ca, err := s.founder.Authority()
	if err != nil {
		t.Fatal(err)
	}
	template := hostTemplate(testEnv, "root", "")
	cert, key, err := ca.issue(template, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"ca": ca.Cert, "cert": cert, "key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return func(line string) {
		t.Helper()
		c := exec.CommandContext(callCtx(t), "etcdctl", strings.Fields(line)...)
		c.Env = append(os.Environ(), "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS="+s.endpoints[0], "ETCDCTL_CACERT="+filepath.Join(dir, "ca"),
			"ETCDCTL_CERT="+filepath.Join(dir, "cert"), "ETCDCTL_KEY="+filepath.Join(dir, "key"))
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("etcdctl %s: %v: %s", line, err, out)
		}
	}
}

func TestRolesOfAnExternalEtcd(t *testing.T) {
	s := debianServer(t)
	etcdctl := s.etcdctl(t)
	each := func(lines []string) {
		t.Helper()
		for _, line := range lines {
			etcdctl(line)
		}
	}
	a := s.enrol(t, hostA, "alpha") // the roles come while a host is at work
	mustCreate(t, a, testNetwork("default", "10.42.0.0/16"))
	each([]string{"user add root --no-password", "user grant-role root root"})
	each(EtcdRoles(testEnv))
	each(EtcdUser(testEnv, hostA, true))
	etcdctl("auth enable")
	each(EtcdUser(testEnv, hostB, false))
	b := s.enrol(t, hostB, "beta")
	if _, err := b.ClaimBlock(callCtx(t), testBlock); err != nil {
		t.Fatal(err)
	}
	e := testEndpoint(hostB, 9)
	mustUpdate(t, b.cp, func(l *Local) {
		l.Blocks[testBlock], l.Endpoints["e"] = Claim{V: 1, Host: hostB}, LocalEndpoint{Endpoint: e}
	})
	a.await(t, "the other host and its endpoint", func(snap *Snapshot) bool {
		_, ok := snap.Endpoint(e.Key())
		return ok && snap.Alive[hostB] && snap.Hosts[hostB].Name == "beta"
	})

	refused := func(err error) bool {
		return errors.Is(err, rpctypes.ErrPermissionDenied) || errors.Is(err, rpctypes.ErrUserNotFound) || err != nil && strings.Contains(err.Error(), "user name")
	}
	spy := s.guest(t, hostB)
	p := Prefix(testEnv)
	for _, key := range []string{"hosts/" + hostA, "alive/" + hostA, "endpoints/" + hostA + "/default/10.42.0.9", "released/" + hostA + "/x", "ca", "revoked/" + hostA, "certs/" + hostB} {
		if _, err := spy.Put(callCtx(t), p+key, "{}"); !refused(err) {
			t.Errorf("%s: %v", key, err)
		}
	}
	for what, err := range map[string]error{"another environment": second(spy.Get(callCtx(t), Prefix("other")+"ca")), "everything": second(spy.Delete(callCtx(t), p, clientv3.WithPrefix())),
		"users": second(spy.UserList(callCtx(t)))} {
		if !refused(err) {
			t.Errorf("%s: %v", what, err)
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	watch := spy.Watch(ctx, p, clientv3.WithPrefix())
	ca := authorityOf(t, a)
	if err := a.Revoke(callCtx(t), ca, hostB); err != nil {
		t.Fatal(err)
	}
	each(EtcdUserEnd(testEnv, hostB))
	if _, err := spy.Put(callCtx(t), p+"hosts/"+hostB, "{}"); err == nil {
		t.Error("a removed host writes")
	}
	if err := a.sweepHost(callCtx(t), hostB); err != nil {
		t.Errorf("what it has left: %v", err)
	}
	a.await(t, "its claims are free", func(snap *Snapshot) bool { return len(snap.Blocks) == 0 })

	// Etcd goes on with a watch that was opened before, until its connection ends.
	s.stop()
	s.start(t)
	after, err := s.client(t).Put(callCtx(t), p+"networks/after", "{}")
	if err != nil {
		t.Fatal(err)
	}
	for r := range watch {
		for _, e := range r.Events {
			if e.Kv.ModRevision >= after.Header.Revision {
				t.Errorf("a removed host is told of %s", e.Kv.Key)
			}
		}
	}
	if ctx.Err() != nil {
		t.Error("a removed host's watch goes on after etcd's restart")
	}
}

func second[T any](_ T, err error) error { return err }

func TestAMovedAuthRevisionIsTriedAgain(t *testing.T) {
	if !temporary(rpctypes.ErrAuthOldRevision) {
		t.Error("given up")
	}
	if temporary(rpctypes.ErrPermissionDenied) {
		t.Error("tried again in vain")
	}
}
