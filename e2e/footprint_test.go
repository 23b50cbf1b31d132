package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
	"github.com/meshsec/meshsec/store"
)

// footprint is what containers leave on hosts while they live: links, routes, facts and checkpoint entries, one a line.
func footprint(t *testing.T, s *suite) string {
	t.Helper()
	text, err := takeFootprint(t, s)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func takeFootprint(t *testing.T, s *suite) (string, error) {
	var all []string
	for _, h := range s.Hosts {
		lines, err := hostFootprint(t, h)
		if err != nil {
			return "", fmt.Errorf("%s: %w", h.Name, err)
		}
		slices.Sort(lines)
		for _, line := range lines {
			all = append(all, h.Name+" "+line)
		}
	}
	return strings.Join(all, "\n"), nil
}

func hostFootprint(t *testing.T, h *testnet.Host) (lines []string, err error) {
	ctx := t.Context()
	const names = "ip -o link show | awk -F'[ @:]+' '{print $2}'"
	links, err := h.Run(ctx, "sh", "-c", names+"| grep -E '^(ms|mv|mesh|br-)' || true")
	if err != nil {
		return nil, err
	}
	routerLinks, err := h.RunRouter(ctx, "sh", "-c", names)
	if err != nil {
		return nil, err
	}
	routes, err := h.RunRouter(ctx, "ip", "-4", "route", "show", "table", "all", "proto", "109")
	if err != nil {
		return nil, err
	}
	var endpoints []control.Endpoint
	if err := h.MeshsecJSON(ctx, &endpoints, "endpoints"); err != nil {
		return nil, err
	}
	add := func(kind, text string) {
		for line := range strings.SplitSeq(text, "\n") {
			if line = strings.TrimSpace(line); line != "" {
				lines = append(lines, kind+" "+line)
			}
		}
	}
	add("link", links)
	add("router link", routerLinks)
	add("route", routes)
	for _, e := range endpoints {
		add("fact", e.ID)
	}
	kept, err := checkpointEntries(t, h)
	return append(lines, kept...), err
}

// checkpointEntries reads a copy of the managed plugin's checkpoint: leases and endpoints. An address that rests is none.
func checkpointEntries(t *testing.T, h *testnet.Host) (lines []string, err error) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/root%s/plugins/*/propagated-mount/default.db", h.Pid(), h.Data("docker")))
	if len(files) != 1 {
		return nil, fmt.Errorf("%d checkpoints", len(files))
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		return nil, err
	}
	replica := filepath.Join(t.TempDir(), "checkpoint.db")
	if err := os.WriteFile(replica, content, 0o600); err != nil {
		return nil, err
	}
	cp, err := store.OpenCheckpoint(replica)
	if err != nil {
		return nil, err
	}
	defer cp.Close()
	local := cp.Local()
	for key, lease := range local.Leases {
		if lease.Freed.IsZero() {
			lines = append(lines, fmt.Sprintf("lease %s %s %s", key.Network, key.Addr, lease.Kind))
		}
	}
	for id := range local.Endpoints {
		lines = append(lines, "endpoint "+id)
	}
	for id := range local.Networks {
		lines = append(lines, "network "+id)
	}
	for key := range local.Statics {
		lines = append(lines, fmt.Sprintf("static %s %s", key.Network, key.Addr))
	}
	return lines, nil
}

// unchanged fails the test unless the footprint becomes again what it was. In the shared cluster, where what an earlier test
// removed may still be on its way out, leftNothing is the one to use.
func unchanged(t *testing.T, s *suite, before string) {
	t.Helper()
	becomes(t, s, before, func(after string) bool { return after == before })
}

// leftNothing fails the test unless the footprint comes to have no line that it did not have before.
func leftNothing(t *testing.T, s *suite, before string) {
	t.Helper()
	were := strings.Split(before, "\n")
	becomes(t, s, before, func(after string) bool {
		return !slices.ContainsFunc(strings.Split(after, "\n"), func(line string) bool { return !slices.Contains(were, line) })
	})
}

func becomes(t *testing.T, s *suite, before string, good func(after string) bool) {
	t.Helper()
	var after string
	err := testnet.Until(t.Context(), patience, func() (err error) {
		if after, err = takeFootprint(t, s); err == nil && !good(after) {
			err = fmt.Errorf("it differs")
		}
		return err
	})
	if err != nil {
		t.Errorf("footprint: %v\n%s", err, testnet.Difference(before, after))
	}
}
