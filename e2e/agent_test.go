package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/internal/testnet"
)

// TestHungAgent: an agent's process stands still. What starts meanwhile waits, or says what is wrong, and works when the process goes on;
// nothing is left of either.
func TestHungAgent(t *testing.T) {
	s := shared(t)
	_, to, flow := fault(t, s)
	h := to.Host
	before := footprint(t, s)
	pid, err := h.KillAgent(unix.SIGSTOP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGCONT) })
	run := inBackground(t, h, "waiting")
	eventually(t, "the container that waits", func() error {
		out, err := h.Docker(t.Context(), "ps", "-a", "--filter", "name=^waiting$", "--format", "{{.Status}}")
		if err == nil && !strings.HasPrefix(out, "Created") {
			err = fmt.Errorf("it is %q", out)
		}
		return err
	})
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := flow.Next(t.Context(), patience); err != nil {
		t.Fatal(err)
	}
	t.Logf("figure: traffic %d ms after a hung agent goes on", time.Since(began).Milliseconds())
	if err := <-run; err != nil {
		if !strings.Contains(err.Error(), "meshsec") {
			t.Errorf("an error that does not say what is wrong: %v", err)
		}
		remove(t, h, "waiting")
		start(t, h, mesh, "waiting")
	}
	c, err := h.Container(t.Context(), mesh, "waiting")
	if err != nil {
		t.Fatal(err)
	}
	s.reach(t, c, to.Addr)
	remove(t, h, "waiting")
	leftNothing(t, s, before)
}

// TestCrashLoop: an agent is killed again and again, each time soon after it is back, while a container starts. That starts, or says what is
// wrong, and once the agent stays all is as before. Docker looks half a second after a start whether the plugin listens: one that dies earlier
// it disables after another twelve.
func TestCrashLoop(t *testing.T) {
	const kills = 3
	s := shared(t)
	from, to, flow := fault(t, s)
	h := to.Host
	before := footprint(t, s)
	run := inBackground(t, h, "torn")
	pid := nextAgent(t, h, 0)
	for range kills {
		killed := time.Now()
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		pid = nextAgent(t, h, pid)
		began := time.Now()
		if err := flow.Next(t.Context(), patience); err != nil {
			t.Fatal(err)
		}
		t.Logf("figure: traffic %d ms after the agent's process is back", time.Since(began).Milliseconds())
		eventually(t, "Docker's trust in it", func() error { return trusted(h, killed) })
	}
	if err := <-run; err != nil && !strings.Contains(err.Error(), "meshsec") {
		t.Errorf("an error that does not say what is wrong: %v", err)
	}
	remove(t, h, "torn")
	eventually(t, "the agent", func() error { return answers(t, h) })
	s.reach(t, from, start(t, h, mesh, "whole").Addr)
	s.reach(t, to, from.Addr)
	remove(t, h, "whole")
	t.Logf("figure: %d pings, one each 10 ms, lost by %d kills in a row", flow.Stop(), kills)
	were := strings.Split(before, "\n")
	becomes(t, s, before, func(after string) bool {
		return !slices.ContainsFunc(strings.Split(after, "\n"), func(line string) bool {
			return !slices.Contains(were, line) && !strings.Contains(line, " lease ") // an address whose answer got lost is nobody's for two minutes
		})
	})
}

// inBackground starts a container, and tells how that ended.
func inBackground(t *testing.T, h *testnet.Host, name string) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	t.Cleanup(func() { remove(t, h, name) })
	go func() {
		_, err := h.Docker(t.Context(), "run", "-d", "--name", name, "--network", mesh, testnet.Image)
		ended <- err
	}()
	return ended
}

// trusted is an error until dockerd has seen the plugin listen that was started after this time: it saves the plugin's state then.
func trusted(h *testnet.Host, since time.Time) error {
	files, err := filepath.Glob(h.Path(h.Data("docker")) + "/plugins/*/config.json")
	if err != nil || len(files) != 1 {
		return testnet.Final(fmt.Errorf("%d plugins: %v", len(files), err))
	}
	info, err := os.Stat(files[0])
	if err == nil && !info.ModTime().After(since) {
		err = fmt.Errorf("dockerd has not seen it since %s", info.ModTime())
	}
	return err
}

// nextAgent waits until the host has an agent's process that is not this one.
func nextAgent(t *testing.T, h *testnet.Host, not int) (pid int) {
	t.Helper()
	eventually(t, "the agent's process", func() (err error) {
		if pid, err = h.AgentPid(); err == nil && pid == not {
			err = fmt.Errorf("it is %d still", pid)
		}
		return err
	})
	return pid
}
