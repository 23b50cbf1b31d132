package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/internal/testnet"
)

// TestExternalEtcd: Debian's etcd with TLS holds the facts. The first host founds the environment there, a second one without
// a token is told what to set, and with it joins.
func TestExternalEtcd(t *testing.T) {
	s := own(t, 2)
	ctx := t.Context()
	settings, etcd := externalEtcd(t, s)
	first, second := s.Hosts[0], s.Hosts[1]
	if err := first.InstallPlugin(ctx, settings...); err != nil {
		t.Fatal(err)
	}
	if err := createMesh(ctx, first); err != nil {
		t.Fatal(err)
	}
	if err := second.InstallPlugin(ctx, settings...); err != nil {
		t.Fatal(err)
	}
	eventually(t, "being told to join", func() error {
		return refusal(t, second, []string{"set JOIN"}, with(mesh)...)
	})
	if _, err := second.Docker(ctx, "plugin", "disable", "-f", testnet.Plugin); err != nil {
		t.Fatal(err)
	}
	token, err := first.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// From a file, as one would who keeps secrets out of `docker plugin inspect`.
	file, err := second.WriteEtc("token", []byte(token+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := second.SetPlugin(ctx, "JOIN="+file); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Docker(ctx, "plugin", "enable", testnet.Plugin); err != nil {
		t.Fatal(err)
	}
	// The driver's full name does as well.
	if _, err := second.Docker(ctx, "network", "create", "-d", testnet.Plugin+":latest", "--ipam-driver", testnet.Plugin+":latest",
		"--subnet", "10.42.0.0/16", mesh); err != nil {
		t.Fatal(err)
	}
	a, b := start(t, first, mesh, "one"), start(t, second, mesh, "two")
	s.reach(t, a, b.Addr)
	if _, err := b.Transfer(ctx, s.watch.Canary, a.Addr, megabyte); err != nil {
		t.Error(err)
	}

	// Without etcd: what is there works, containers start and end, and what needs etcd is refused soon, with the reason.
	etcd.stop(t)
	s.reach(t, a, b.Addr)
	quick := start(t, first, mesh, "quick")
	s.reach(t, quick, a.Addr)
	began := time.Now()
	refused(t, second, []string{"etcd", "2379"}, "run", "--name", "fixed", "--network", mesh, "--ip", "10.42.3.3", testnet.Image)
	t.Logf("figure: without etcd refused after %.1f s", time.Since(began).Seconds())
	remove(t, second, "fixed")
	etcd.start(t)
	s.reach(t, b, quick.Addr)
	s.reach(t, start(t, second, mesh, "fixed", "--ip", "10.42.3.3"), quick.Addr)
	etcdFaults(t, s, etcd, a, b)
}

// etcdServer is an etcd on the outside host.
type etcdServer struct {
	start, stop func(t *testing.T)
	// slow lets it work for a moment now and then only, until stop is called.
	slow func(t *testing.T) (stop func())
	// ctl is etcdctl, with a megabyte as its input.
	ctl func(t *testing.T, args ...string) (string, error)
}

// externalEtcd runs an etcd and gives each host its files; it returns the settings that name them.
func externalEtcd(t *testing.T, s *suite) ([]string, etcdServer) {
	t.Helper()
	ca := newAuthority(t)
	_, outside := testnet.Underlay()
	files := map[string][]byte{"etcd-ca.pem": ca.pem}
	files["etcd.pem"], files["etcd-key.pem"] = ca.issue(t, "etcd", outside.AsSlice())
	for _, h := range append([]*testnet.Host{s.Outside}, s.Hosts...) {
		for name, content := range files {
			if _, err := h.WriteEtc(name, content); err != nil {
				t.Fatal(err)
			}
		}
	}
	const etc = "/etc/docker/"
	url := "https://" + outside.String() + ":2379"
	var p *testnet.Process
	server := etcdServer{
		start: func(t *testing.T) {
			t.Helper()
			var err error
			p, err = s.Outside.Start("etcd", nil, "etcd", "--data-dir", s.Outside.Data("etcd"),
				"--quota-backend-bytes", fmt.Sprint(16*megabyte), // soon full
				"--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", "http://127.0.0.1:2380",
				"--cert-file", etc+"etcd.pem", "--key-file", etc+"etcd-key.pem", "--client-cert-auth", "--trusted-ca-file", etc+"etcd-ca.pem")
			if err != nil {
				t.Fatal(err)
			}
		},
		stop: func(t *testing.T) {
			t.Helper()
			ctx, cancel := context.WithTimeout(context.Background(), cleanup)
			defer cancel()
			if err := p.Stop(ctx, unix.SIGKILL); err != nil {
				t.Error(err)
			}
		},
	}
	server.slow = func(t *testing.T) func() { return slowly(t, p) }
	server.ctl = func(t *testing.T, args ...string) (string, error) {
		return s.Outside.Run(t.Context(), "sh", append([]string{"-c", `head -c 1000000 /dev/zero | tr '\0' x | etcdctl "$@"`, "etcdctl", "--endpoints", url, "--cacert", etc + "etcd-ca.pem",
			"--cert", etc + "etcd.pem", "--key", etc + "etcd-key.pem"}, args...)...)
	}
	server.start(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(p.Output())
		}
		server.stop(t)
	})
	return []string{"ETCD=" + url, "ETCD_CA=" + etc + "etcd-ca.pem", "ETCD_CERT=" + etc + "etcd.pem", "ETCD_KEY=" + etc + "etcd-key.pem"}, server
}
