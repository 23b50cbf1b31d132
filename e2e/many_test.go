package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// TestRestartOfMany: all containers of a host are restarted at once, by command and by their dockerd's kill. All are reached afterwards, and
// etcd hears of each a few times at most.
func TestRestartOfMany(t *testing.T) {
	many, err := strconv.Atoi(os.Getenv("MESHSEC_E2E_MANY"))
	if err != nil {
		t.Skip("takes minutes: MESHSEC_E2E_MANY says how many containers, such as 100")
	}
	s := shared(t)
	ctx, h := t.Context(), s.Hosts[2]
	peer := start(t, s.Hosts[1], mesh, "peer")
	var names []string
	for i := range many {
		names = append(names, fmt.Sprintf("many%d", i))
	}
	t.Cleanup(func() { remove(t, h, names...) })
	var group errgroup.Group
	group.SetLimit(16)
	for _, name := range names {
		group.Go(func() error {
			_, err := h.StartContainer(ctx, mesh, name, "--restart", "always")
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	reached := func() {
		t.Helper()
		for _, name := range names {
			err := testnet.Until(ctx, 3*time.Minute, func() error {
				c, err := h.Container(ctx, mesh, name)
				if err == nil {
					_, err = peer.Ping(ctx, s.watch.Canary, c.Addr, 1)
				}
				return err
			})
			if err != nil {
				state, _ := h.Docker(ctx, "inspect", "--format", "{{json .State}} {{json .NetworkSettings.Networks}}", name)
				t.Fatalf("%s: %v\n%s", name, err, state)
			}
		}
	}
	reached()
	measured(t, h, "docker restart", func() {
		if _, err := h.Docker(ctx, append([]string{"restart", "-t", "0"}, names...)...); err != nil {
			t.Fatal(err)
		}
		reached()
	})
	measured(t, h, "restarts, all at once", func() {
		for _, name := range names {
			group.Go(func() error {
				_, err := h.Docker(ctx, "restart", "-t", "0", name)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		reached()
	})
	measured(t, h, "dockerd's kill", func() {
		restartDockerd(t, h, unix.SIGKILL)
		reached()
	})
}

// measured prints what something costs: time, etcd's revisions, and the agent's processor time, if it is the same agent before and afterwards.
func measured(t *testing.T, h *testnet.Host, what string, do func()) {
	t.Helper()
	read := func() (revision int64, pid int, ticks float64) {
		var st control.Status
		eventually(t, "status", func() error { return h.MeshsecJSON(t.Context(), &st, "status") })
		pid, err := h.AgentPid()
		if err != nil {
			t.Fatal(err)
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(stat[strings.LastIndex(string(stat), ")"):]))
		for _, f := range fields[12:14] {
			n, _ := strconv.ParseFloat(f, 64)
			ticks += n
		}
		return st.Revision, pid, ticks / 100
	}
	before, pid, used := read()
	began := time.Now()
	do()
	took := time.Since(began).Seconds()
	after, now, spent := read()
	if now != pid {
		used = 0
	}
	t.Logf("figure: %s: %.1f s until all are reached, %d revisions of etcd, %.1f s of the agent's processor time", what, took, after-before, spent-used)
}
