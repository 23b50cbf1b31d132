package e2e

import (
	"path/filepath"
	"testing"

	"github.com/meshsec/meshsec/internal/testnet"
)

// TestInterop joins a host of the present version to an environment that the previous release founded, and the other
// way around, on each data plane of MESHSEC_E2E_DATAPLANE.
func TestInterop(t *testing.T) {
	root, err := testnet.Root()
	if err != nil {
		t.Fatal(err)
	}
	previous, present := previousPlugin(t), filepath.Join(root, "build/plugin")
	defer func(all []string) { planes = all }(planes)
	for {
		name := planes[0]
		if name == "" {
			name = "auto"
		}
		t.Run(name+"/previous founds", func(t *testing.T) { interop(t, previous, present) })
		t.Run(name+"/present founds", func(t *testing.T) { interop(t, present, previous) })
		if len(planes) == 1 {
			return
		}
		planes = planes[1:]
	}
}

// interop has a first host with one plugin and a second with another, and sends both ways.
func interop(t *testing.T, first, second string) {
	s := special(t, testnet.Options{Hosts: 2, Docker: true, ESP: planes[0] == "esp"})
	var all []*testnet.Container
	for i, plugin := range []string{first, second} {
		h := s.Hosts[i]
		settings := planeSettings(h)
		if i > 0 {
			token, err := s.Hosts[0].Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			settings = append(settings, "JOIN="+token)
		}
		if err := h.InstallPluginFrom(t.Context(), plugin, settings...); err != nil {
			t.Fatal(err)
		}
		if err := createMesh(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		all = append(all, start(t, h, mesh, "on-"+h.Name))
	}
	for i, from := range all {
		to := all[1-i]
		s.reach(t, from, to.Addr)
		took, err := from.Transfer(t.Context(), s.watch.Canary, to.Addr, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("figure: 1 MiB from %s to %s and back in %v", from.Host.Name, to.Host.Name, took)
	}
	for _, h := range s.Hosts {
		eventually(t, h.Name, func() error { return answers(t, h) })
		status, _ := h.Meshsec(t.Context(), "hosts")
		t.Logf("%s", status)
	}
}
