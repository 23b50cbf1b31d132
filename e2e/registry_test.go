package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// The words of the installation from a registry, without settings.
const (
	installPlugin = "docker plugin install --alias meshsec/plugin --grant-all-permissions "
	makeNetwork   = "docker network create -d meshsec --ipam-driver meshsec mesh"
	putCommand    = "install -m 755 /run/meshsec/command /usr/local/bin/meshsec"
)

// TestRegistry installs the previous release on three hosts that have Docker and nothing else, and upgrades one after
// another under traffic. Hosts of both versions reach each other meanwhile.
func TestRegistry(t *testing.T) {
	s := own(t, 3)
	s.registry(t)
	s.publish(t, "previous", "present")
	for _, h := range s.Hosts {
		bare(t, h)
	}
	all := s.installed(t)
	versions(t, s, "previous", "previous", "previous")

	flow, err := all[1].StartFlow(t.Context(), s.watch.Canary, all[2].Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer flow.Stop()
	restarted := s.gap(t, flow, func() {
		typed(t, s.Hosts[2], "docker plugin disable -f meshsec/plugin\ndocker plugin enable meshsec/plugin", "")
	})
	t.Logf("figure: %d pings, one each 10 ms, lost by disable and enable of %s", restarted, s.Hosts[2].Name)

	notUpgradedUnasked(t, s.Hosts[2])
	if err := flow.Goes(t.Context(), patience); err != nil {
		t.Fatal(err)
	}
	before := interfaces(t, all...)
	// The third host goes first: then a new host meets an old first one, and afterwards an old host a new first one.
	mixed := [3]string{"previous", "previous", "previous"}
	for _, i := range []int{2, 0, 1} {
		h := s.Hosts[i]
		lost := s.gap(t, flow, func() { upgrade(t, h) })
		t.Logf("figure: %d pings, one each 10 ms, lost by the upgrade of %s", lost, h.Name)
		mixed[i] = "present"
		versions(t, s, mixed[:]...)
		if out := typed(t, h, "meshsec version", ""); strings.Count(out, "present") != 2 {
			t.Errorf("the command after the upgrade: %s", out)
		}
		for _, from := range all {
			for _, to := range all {
				if from != to {
					s.reach(t, from, to.Addr)
				}
			}
		}
	}
	if now := interfaces(t, all...); now != before {
		t.Errorf("other interfaces:\n%s", testnet.Difference(before, now))
	}
	// Installed anew, the plugin has another ID, and the command finds it.
	h := s.Hosts[2]
	id := typed(t, h, "docker plugin inspect -f '{{.Id}}' meshsec/plugin", "")
	typed(t, h, "docker plugin disable -f meshsec/plugin\ndocker plugin rm meshsec/plugin", "")
	out := typed(t, h, "if meshsec version; then exit 1; fi 2>&1", "")
	if !strings.Contains(out, "is it installed?") {
		t.Errorf("without the plugin the command printed %s", out)
	}
	out = typed(t, h, installPlugin+image("present")+" ENVIRONMENT=another\nmeshsec version\ndocker plugin inspect -f '{{.Id}}' meshsec/plugin", "")
	if strings.Contains(out, id) || !strings.Contains(out, "present") {
		t.Errorf("installed anew, with ID %s before: %s", id, out)
	}
}

// installed installs the previous release on all hosts, with a container on each, and returns the containers. It prints
// when each command was done.
func (s *suite) installed(t *testing.T) (all []*testnet.Container) {
	t.Helper()
	began := time.Now()
	step := func(h *testnet.Host, commands, input string) string {
		t.Helper()
		out := typed(t, h, commands, input)
		t.Logf("figure: %5.1f s  %s: %s", time.Since(began).Seconds(), h.Name, strings.ReplaceAll(commands, "\n", "; "))
		return out
	}
	for i, h := range s.Hosts {
		join := ""
		if i > 0 {
			token, err := s.Hosts[0].Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			step(h, "install -d -m 700 /etc/meshsec\ninstall -m 600 /dev/stdin /etc/meshsec/token", token)
			join = " JOIN=/etc/meshsec/token"
		}
		step(h, installPlugin+image("previous")+" ETCD_MEMBERS=1"+join, "")
		step(h, makeNetwork, "")
		c := start(t, h, mesh, "on-"+h.Name)
		if i > 0 {
			s.reach(t, c, all[0].Addr)
			t.Logf("figure: %5.1f s  %s: a container is started and has an answer of %s", time.Since(began).Seconds(), h.Name, s.Hosts[0].Name)
		}
		all = append(all, c)
	}
	return all
}

// versions waits until each host is well and knows that the hosts run these versions.
func versions(t *testing.T, s *suite, want ...string) {
	t.Helper()
	for i, h := range s.Hosts {
		eventually(t, "the versions that "+h.Name+" sees", func() error {
			if err := answers(t, h); err != nil {
				return err
			}
			var hosts []control.Host
			if err := h.MeshsecJSON(t.Context(), &hosts, "hosts"); err != nil {
				return err
			}
			var have []string
			for _, host := range hosts {
				have = append(have, host.Version)
			}
			if fmt.Sprint(have) != fmt.Sprint(want) {
				return fmt.Errorf("%v, want %v (host %d)", have, want, i)
			}
			return nil
		})
	}
}

// gap is how many pings of the flow got lost while something was done and until the flow goes on.
func (s *suite) gap(t *testing.T, flow *testnet.Flow, do func()) int {
	t.Helper()
	before := flow.Lost()
	do()
	if err := flow.Goes(t.Context(), patience); err != nil {
		t.Fatal(err)
	}
	return flow.Lost() - before
}

// upgrade types what docs/install.md gives for an upgrade.
func upgrade(t *testing.T, h *testnet.Host) {
	t.Helper()
	commands := blocks(t, "docs/install.md", "Upgrade")[0]
	typed(t, h, documented.ReplaceAllString(commands, image("present"))+"\n"+putCommand, "")
}

// notUpgradedUnasked: without --skip-remote-check Docker asks whether another tag is meant, and unattended nothing happens.
func notUpgradedUnasked(t *testing.T, h *testnet.Host) {
	t.Helper()
	out := typed(t, h, "docker plugin disable -f meshsec/plugin\n"+
		"docker plugin upgrade --grant-all-permissions meshsec/plugin "+image("present")+" </dev/null && echo status 0 || echo \"status $?\"", "")
	t.Logf("figure: an upgrade without --skip-remote-check: %s", strings.ReplaceAll(out, "\n", "; "))
	is := typed(t, h, "docker plugin inspect -f '{{.PluginReference}}' meshsec/plugin", "")
	if is != image("previous") {
		t.Errorf("an upgrade to another tag without --skip-remote-check made it %s", is)
	}
	typed(t, h, "docker plugin enable meshsec/plugin", "")
}
