package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/internal/testnet"
)

// smallDisk gives the state of the host's future agent beside Docker a disk of so many bytes.
func smallDisk(t *testing.T, h *testnet.Host, size int) {
	t.Helper()
	script := fmt.Sprintf(`mkdir -p "$1" && mount -t tmpfs -o mode=0700,size=%d mst-state "$1"`, size)
	if out, err := h.Run(t.Context(), "sh", "-c", script, "sh", h.Data("meshsec")); err != nil {
		t.Fatal(err, out)
	}
}

// stateDisk is a part of TestAgentByHand. What runs goes on while the disk of the state folder is full, also with an agent that was killed. What
// can't be noted is refused with the reason. With room again all works, and what was noted is there. On a disk that is read-only at its
// start the agent does nothing but say so.
func stateDisk(t *testing.T, s *suite, agent *testnet.Process, peer, c *testnet.Container) {
	t.Helper()
	ctx, h := t.Context(), c.Host
	disk := func(script string) {
		t.Helper()
		if out, err := h.Run(ctx, "sh", "-c", script, "sh", h.Data("meshsec")); err != nil {
			t.Fatal(err, out)
		}
	}
	disk(`cat /dev/zero >"$1/junk"; df "$1" | grep -q 100%`)
	// There may be room within the checkpoint for some more.
	var names []string
	t.Cleanup(func() { remove(t, h, names...) })
	eventually(t, "being told that the disk is full", func() error {
		name := fmt.Sprintf("noted%d", len(names))
		names = append(names, name)
		_, err := h.Docker(ctx, "run", "-d", "--name", name, "--network", mesh, testnet.Image)
		switch {
		case err == nil:
			return errors.New("it was noted")
		case strings.Contains(err.Error(), "meshsec") && strings.Contains(err.Error(), "is full"):
			return nil
		}
		return testnet.Final(err)
	})
	s.reach(t, peer, c.Addr)
	if err := agent.Stop(ctx, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	agent = startAgent(t, h)
	eventually(t, "the agent of "+h.Name, func() error { return answers(t, h) })
	s.reach(t, peer, c.Addr)
	s.reach(t, c, peer.Addr)
	disk(`rm "$1/junk"`)
	s.reach(t, start(t, h, mesh, "afterwards"), peer.Addr)

	if err := agent.Stop(ctx, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	disk(`mount -o remount,ro "$1"`)
	agent = startAgent(t, h)
	eventually(t, "the refusal", func() error {
		defer remove(t, h, "unwritten")
		return refusal(t, h, []string{"meshsec", "read-only"}, "run", "--name", "unwritten", "--network", mesh, testnet.Image)
	})
	if out, err := h.Meshsec(ctx, "status"); err == nil || !strings.Contains(out+err.Error(), "read-only") {
		t.Errorf("status: %v: %s", err, out)
	}
	if err := agent.Stop(ctx, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	disk(`mount -o remount,rw "$1"`)
	startAgent(t, h)
	eventually(t, "the agent of "+h.Name, func() error { return answers(t, h) })
	s.reach(t, peer, c.Addr)
	s.reach(t, start(t, h, mesh, "written"), peer.Addr)
	remove(t, h, append(names, "afterwards", "written")...)
}
