package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// stateOf is where the host's own agent keeps its state, as the machine sees it.
func stateOf(h *testnet.Host) string {
	return fmt.Sprintf("/proc/%d/root%s", h.Pid(), h.Data("meshsec"))
}

// copyDisk copies the state folder of a host's agent, running or not.
func copyDisk(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error { // CopyFS adds modes for all
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestClonedDisk: the disk of a running host is copied to another machine, which is started as well. Both notice, name each
// other and stay away from each other's facts; when the copy is off, the original's tunnels are up.
func TestClonedDisk(t *testing.T) {
	s := special(t, testnet.Options{Hosts: 3})
	founder, original, copied := s.Hosts[0], s.Hosts[1], s.Hosts[2]
	startAgent(t, founder)
	token, err := founder.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	startAgent(t, original, "JOIN="+token)
	expect(t, founder, original, "up", "")
	copyDisk(t, stateOf(original), stateOf(copied))
	clone, err := copied.StartAgent("HOST_NAME=copy")
	if err != nil {
		t.Fatal(err)
	}
	for h, other := range map[*testnet.Host]*testnet.Host{original: copied, copied: original} {
		eventually(t, h.Name+"'s word", func() error {
			var status control.Status
			if err := h.MeshsecJSON(t.Context(), &status, "status"); err != nil {
				return err
			}
			said := strings.Join(status.Problems, "\n")
			if status.Health == control.OK || !strings.Contains(said, "another machine runs with this host's identity") || !strings.Contains(said, other.Addr.String()) {
				return fmt.Errorf("%s: %q", status.Health, said)
			}
			return nil
		})
	}
	var hosts []control.Host
	if err := founder.MeshsecJSON(t.Context(), &hosts, "hosts"); err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		if !h.Self && !strings.HasPrefix(h.Underlay, original.Addr.String()) {
			t.Errorf("the copy has written the host's fact: %+v", h)
		}
	}
	if err := clone.Stop(t.Context(), unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(clone.Output(), original.Addr.String()) {
		t.Errorf("not in the copy's log:\n%s", clone.Output())
	}
	expect(t, founder, original, "up", "")
	expect(t, original, founder, "up", "")
}

// TestRestoredDisk: a host is started with an older state of itself. Its SAs are new ones: no sequence number of a key is
// ever used for two packets.
func TestRestoredDisk(t *testing.T) {
	s := special(t, testnet.Options{Hosts: 2})
	founder, host := s.Hosts[0], s.Hosts[1]
	startAgent(t, founder)
	token, err := founder.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file, err := host.WriteEtc("token", []byte(token))
	if err != nil {
		t.Fatal(err)
	}
	agent := startAgent(t, host, "JOIN="+file)
	expect(t, founder, host, "up", "")
	expect(t, host, founder, "up", "")
	backup := filepath.Join(t.TempDir(), "backup")
	copyDisk(t, stateOf(host), backup)

	packets, spis := map[[8]byte]string{}, map[uint32]bool{}
	look := func() (fresh int) {
		for _, frame := range s.watch.RecentESP() {
			const esp = 14 + 20 + 8 // Ethernet, IPv4, UDP
			if len(frame) < esp+8 {
				continue
			}
			id, body := [8]byte(frame[esp:esp+8]), string(frame[esp+8:])
			if before, ok := packets[id]; ok && before != body {
				t.Fatalf("SPI and sequence number %x twice", id)
			}
			packets[id] = body
			if spi := binary.BigEndian.Uint32(id[:]); !spis[spi] {
				spis[spi] = true
				fresh++
			}
		}
		return fresh
	}
	seen := func(what string) {
		t.Helper()
		both := 0
		eventually(t, what, func() error {
			if both += look(); both < 2 {
				return errors.New("no packets of two new SAs")
			}
			return nil
		})
	}
	seen("packets both ways")
	for _, how := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := agent.Stop(t.Context(), how); err != nil && how == unix.SIGTERM {
			t.Fatal(err)
		}
		look()
		copyDisk(t, backup, stateOf(host))
		agent = startAgent(t, host) // the token has done its work
		expect(t, founder, host, "up", "")
		seen("packets after the restoration")
	}
}
