package store

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/meshsec/meshsec/internal/freeport"
)

// debianServer starts the etcd of the distribution with the same certificates, as an operator would run it.
func debianServer(t testing.TB) *server {
	t.Helper()
	id, err := FoundIdentity(testEnv, hostA, "alpha")
	if err != nil {
		t.Fatal(err)
	}
	ca, err := id.Authority()
	if err != nil {
		t.Fatal(err)
	}
	certs := t.TempDir()
	files, err := writeServerCert(EmbedConfig{Dir: certs, Name: hostA, Addrs: []netip.Addr{loopback}, CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	clients := fmt.Sprintf("https://127.0.0.1:%d", freeport.Port(t))
	peers := fmt.Sprintf("http://127.0.0.1:%d", freeport.Port(t))
	s := &server{founder: id, hosts: map[string]Identity{hostA: id}, endpoints: []string{clients}, dir: filepath.Join(t.TempDir(), "etcd")}
	s.start = func(t testing.TB) {
		t.Helper()
		c := exec.Command("etcd", "--name", "d", "--data-dir", s.dir,
			"--listen-client-urls", clients, "--advertise-client-urls", clients,
			"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
			"--initial-cluster", "d="+peers, "--initial-cluster-token", NewHostID(),
			"--cert-file", files.cert, "--key-file", files.key, "--trusted-ca-file", files.ca, "--client-cert-auth")
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		c.Env = append(os.Environ(), "ETCD_UNSUPPORTED_ARCH=arm64")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		s.stop = func() {
			_ = c.Process.Signal(syscall.SIGTERM)
			_ = c.Wait()
		}
		client := s.client(t)
		eventually(t, "etcd of the distribution", func() bool {
			_, err := client.Get(callCtx(t), "ready")
			return err == nil || errors.Is(err, rpctypes.ErrPermissionDenied) // there are roles by now
		})
	}
	s.start(t)
	t.Cleanup(func() { s.stop() })
	return s
}
