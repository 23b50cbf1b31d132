package e2e

import (
	"context"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// TestInterop joins a host of the present version to an environment that the previous release founded, and the other
// way around, on each data plane of MESHSEC_E2E_DATAPLANE. TestRegistry does it with dockerds.
func TestInterop(t *testing.T) {
	root, err := testnet.Root()
	if err != nil {
		t.Fatal(err)
	}
	const binary = "rootfs/meshsec"
	needRoot(t)
	previous, present := filepath.Join(previousPlugin(t), binary), filepath.Join(root, "build/plugin", binary)
	defer func(all []string) { planes = all }(planes)
	for ; len(planes) > 0; planes = planes[1:] {
		t.Run("PreviousFounds"+planes[0], func(t *testing.T) { interop(t, previous, present) })
		t.Run("PresentFounds"+planes[0], func(t *testing.T) { interop(t, present, previous) })
	}
}

// interop starts the agents of two hosts from different binaries, and a container on each, and pings both ways.
func interop(t *testing.T, first, second string) {
	s := special(t, testnet.Options{Hosts: 2, ESP: planes[0] == "esp"})
	var all []*testnet.Container
	for i, binary := range []string{first, second} {
		h := s.Hosts[i]
		settings := append(planeSettings(h), "HOST_NAME="+h.Name)
		if i > 0 {
			token, err := s.Hosts[0].Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			settings = append(settings, "JOIN="+token)
		}
		agent, err := h.StartAgentFrom(binary, settings...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), cleanup)
			defer cancel()
			if err := agent.Stop(ctx, unix.SIGTERM); err != nil {
				t.Error(err)
			}
		})
		engine := testnet.NewEngine(h)
		if err := engine.CreateNetwork(t.Context()); err != nil {
			t.Fatal(err)
		}
		c, err := engine.StartContainer(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	for i, from := range all {
		to := all[1-i].Addr.String()
		eventually(t, from.Host.Name+" reaches "+to, func() error {
			_, err := from.Run(t.Context(), "ping", "-q", "-c", "3", "-i", "0.2", "-W", "1", "-s", "1300", "-p", hex.EncodeToString(s.watch.Canary[:]), to)
			return err
		})
	}
	for _, h := range s.Hosts {
		var hosts []control.Host
		if err := h.MeshsecJSON(t.Context(), &hosts, "hosts"); err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, host := range hosts {
			text += fmt.Sprintf("  %s of version %s, %s plane", host.Name, host.Version, host.DataPlane)
		}
		if len(hosts) != 2 || hosts[0].Version == hosts[1].Version {
			t.Errorf("%s knows%s", h.Name, text)
		}
		t.Logf("figure:%s", text)
	}
}
