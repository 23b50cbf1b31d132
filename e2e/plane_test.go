package e2e

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// planes are the data planes that the hosts get, one after the other, from MESHSEC_E2E_DATAPLANE: values of DATAPLANE; mixed,
// with which the hosts take the three values in turn; or esp, the kernel's without UDP. Without it there is no setting.
var planes = strings.Split(os.Getenv("MESHSEC_E2E_DATAPLANE"), ",")

// planeSettings are the plugin's settings that choose the host's data plane, the first of planes.
func planeSettings(h *testnet.Host) []string {
	plane, encap := planes[0], "udp"
	switch plane {
	case "":
		return nil
	case "mixed":
		n, _ := strconv.Atoi(strings.TrimPrefix(h.Name, "h"))
		plane = []string{"auto", "kernel", "userspace"}[n%3]
	case "esp":
		plane, encap = "kernel", "esp"
	}
	return []string{"DATAPLANE=" + plane, "ENCAP=" + encap}
}

// TestPlanes runs what the data plane makes a difference to on each plane of MESHSEC_E2E_DATAPLANE, in one cluster whose hosts
// change from one to the next. The first plane gets all of it, the others what can differ there.
func TestPlanes(t *testing.T) {
	if planes[0] == "" {
		t.Skip("no planes in MESHSEC_E2E_DATAPLANE")
	}
	for first := true; ; first = false {
		t.Run(planes[0], func(t *testing.T) {
			t.Run("DataPlane", TestDataPlane)
			t.Run("EachHost", eachHost)
			t.Run("RouterDown", TestRouterDown)
			if planes[0] == "esp" {
				t.Run("NothingLost", nothingLost)
			}
			if first {
				t.Run("Peers", TestPeers)
				t.Run("VethDeleted", TestVethDeleted)
				t.Run("AgentKilled", TestCase21AgentKilled)
				t.Run("HostilePackets", TestHostilePackets)
				t.Run("PlaintextNotLetIn", TestPlaintextNotLetIn)
			}
		})
		if len(planes) == 1 {
			break
		}
		planes = planes[1:]
		shared(t).changePlane(t)
	}
	t.Run("LateHost", TestLateHost)
}

// nothingLost: with the kernel plane and without UDP, no packet needs the agent: it is killed, disabled and enabled.
func nothingLost(t *testing.T) {
	s := shared(t)
	from, to, flow := fault(t, s)
	back := func(h *testnet.Host, what string) {
		t.Helper()
		eventually(t, "the agent of "+h.Name, func() error { return answers(t, h) })
		if err := flow.Goes(t.Context(), patience); err != nil {
			t.Fatal(err)
		}
		if lost := flow.Lost(); lost > 0 {
			t.Errorf("%d pings lost by now: the agent of %s was %s", lost, h.Name, what)
		}
	}
	for _, h := range []*testnet.Host{from.Host, to.Host} {
		if _, err := h.KillAgent(unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		back(h, "killed")
		s.disabled(t, h, nil, from, to)
		back(h, "disabled and enabled")
	}
	if lost := flow.Stop(); lost > 0 {
		t.Errorf("%d pings, one each 10 ms, lost by killing, disabling and enabling the agents of both hosts", lost)
	}
}

// answers: the host's agent is up and all is well with it.
func answers(t *testing.T, h *testnet.Host) error {
	t.Helper()
	var status control.Status
	if err := h.MeshsecJSON(t.Context(), &status, "status"); err != nil {
		return err
	}
	if status.Health != control.OK {
		return fmt.Errorf("%s", status.Health)
	}
	return nil
}

// eachHost is TestEveryPair with one container on each host.
func eachHost(t *testing.T) {
	s := shared(t)
	var all []*testnet.Container
	for i, h := range s.Hosts {
		all = append(all, start(t, h, mesh, fmt.Sprintf("box%d", i)))
	}
	s.everyPair(t, all)
}

// changePlane gives all hosts the first of planes, by the commands that the README gives.
func (s *suite) changePlane(t *testing.T) {
	t.Helper()
	var group errgroup.Group
	for _, h := range s.Hosts {
		group.Go(func() error {
			if _, err := h.Docker(t.Context(), "plugin", "disable", "-f", testnet.Plugin); err != nil {
				return err
			}
			if err := h.SetPlugin(t.Context(), planeSettings(h)...); err != nil {
				return err
			}
			_, err := h.Docker(t.Context(), "plugin", "enable", testnet.Plugin)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, h := range s.Hosts {
		eventually(t, "the agent of "+h.Name, func() error {
			var status control.Status
			err := h.MeshsecJSON(t.Context(), &status, "status")
			if err == nil && status.DataPlane == "none" {
				err = fmt.Errorf("%v", status.Problems)
			}
			return err
		})
	}
}

// planeOf is the data plane that the host's agent says it has.
func planeOf(t *testing.T, h *testnet.Host) string {
	t.Helper()
	var status control.Status
	if err := h.MeshsecJSON(t.Context(), &status, "status"); err != nil {
		t.Fatal(err)
	}
	return status.DataPlane
}

// TestDataPlane: each host has the data plane that it was told to have, its devices and none of the other's, and says why.
func TestDataPlane(t *testing.T) {
	s := shared(t)
	for _, h := range s.Hosts {
		var status control.Status
		if err := h.MeshsecJSON(t.Context(), &status, "status"); err != nil {
			t.Fatal(err)
		}
		told := ""
		if settings := planeSettings(h); settings != nil {
			told = strings.TrimPrefix(settings[0], "DATAPLANE=")
		}
		if told == "auto" && testnet.InLab() {
			told = "kernel" // the laboratory's kernels have all that it takes
		}
		if told != "" && told != "auto" && status.DataPlane != told || status.DataPlaneReason == "" {
			t.Errorf("%s: data plane %s (%s), told %q", h.Name, status.DataPlane, status.DataPlaneReason, told)
		}
		eventually(t, "tunnels of "+h.Name, func() error {
			userspace, kernel := 0, 0
			for _, name := range tunnels(t, h) {
				if name == "mesh0" {
					userspace++
				} else {
					kernel++
				}
			}
			if want := [2]int{1, 0}; status.DataPlane == "userspace" && [2]int{userspace, kernel} != want {
				return fmt.Errorf("%d of userspace, %d of the kernel", userspace, kernel)
			}
			if want := [2]int{0, len(s.Hosts) - 1}; status.DataPlane == "kernel" && [2]int{userspace, kernel} != want {
				return fmt.Errorf("%d of userspace, %d of the kernel", userspace, kernel)
			}
			return nil
		})
		t.Logf("figure: %s has the plane %s: %s", h.Name, status.DataPlane, status.DataPlaneReason)
	}
}

// tunnels are the names of the data plane's devices in the host's router.
func tunnels(t *testing.T, h *testnet.Host) []string {
	t.Helper()
	out, err := h.RunRouter(t.Context(), "sh", "-c", "ip -o link show | awk -F'[ @:]+' '{print $2}'")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(strings.Fields(out), func(name string) bool {
		return name != "mesh0" && !strings.HasPrefix(name, "ms-")
	})
}
