package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// TestRefusedNetworks: what can't work is refused in a sentence that names the thing, and leaves nothing.
func TestRefusedNetworks(t *testing.T) {
	s := shared(t)
	h := s.Hosts[0]
	before := footprint(t, s)
	for _, c := range []struct {
		name  string
		args  []string
		words []string
	}{
		{"no IPAM driver", []string{"network", "create", "-d", "meshsec", "n1"}, []string{"--ipam-driver meshsec"}},
		{"second network for the same pool", with("n2"), []string{"default"}},
		{"part of another pool", with("--subnet", "10.42.128.0/17", "n3"), []string{"10.42.128.0/17", "default"}},
		{"around another pool", with("--subnet", "10.40.0.0/13", "n4"), []string{"10.40.0.0/13"}},
		{"the underlay's subnet", with("--subnet", "172.30.0.0/16", "n5"), []string{"172.30.0.0/"}},
		{"the nameserver's subnet", with("--subnet", "172.30.0.128/25", "n6"), []string{"172.30.0."}},
		{"unknown option", with("--subnet", "10.77.0.0/16", "-o", "colour=blue", "n7"), []string{"colour", "meshsec.mtu"}},
		{"unknown IPAM option", with("--subnet", "10.77.0.0/16", "--ipam-opt", "colour=blue", "n8"), []string{"colour", "meshsec.network"}},
		{"bad MTU", with("--subnet", "10.77.0.0/16", "-o", "meshsec.mtu=many", "n10"), []string{"meshsec.mtu", "many"}},
	} {
		t.Run(c.name, func(t *testing.T) { refused(t, h, c.words, c.args...) })
	}
	leftNothing(t, s, before)
}

// TestCase31RefusedAddresses: an address that can't be had is refused with the name of who has it.
func TestCase31RefusedAddresses(t *testing.T) {
	s := shared(t)
	near, far := s.Hosts[0], s.Hosts[1]
	holder := start(t, far, mesh, "holder", "--ip", "10.42.9.9")
	dynamic := start(t, far, mesh, "dynamic")
	// The block's owner and the holder are known here once they are in this host's copy of the facts.
	eventually(t, "the facts", func() error {
		var endpoints []control.Endpoint
		if err := near.MeshsecJSON(t.Context(), &endpoints, "endpoints"); err != nil {
			return err
		}
		found := 0
		for _, e := range endpoints {
			if e.Addr == holder.Addr || e.Addr == dynamic.Addr {
				found++
			}
		}
		if found != 2 {
			return fmt.Errorf("%d of 2 endpoints", found)
		}
		return nil
	})
	other := dynamic.Addr.Next()
	for _, c := range []struct {
		name  string
		ip    string
		words []string
	}{
		{"taken", "10.42.9.9", []string{"10.42.9.9", "holder", "h2"}},
		{"in another host's block", other.String(), []string{other.String(), "h2"}},
		{"taken in another host's block", dynamic.Addr.String(), []string{dynamic.Addr.String(), "dynamic", "h2"}},
		{"the gateway", "10.42.0.1", []string{"10.42.0.1"}},
		{"the pool's last", "10.42.255.255", []string{"10.42.255.255"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer remove(t, near, "refused")
			refused(t, near, c.words, "run", "-d", "--name", "refused", "--network", mesh, "--ip", c.ip, testnet.Image)
		})
	}
	t.Run("outside the pool", func(t *testing.T) { // Docker itself refuses this one
		defer remove(t, near, "refused")
		refused(t, near, nil, "run", "-d", "--name", "refused", "--network", mesh, "--ip", "10.99.0.1", testnet.Image)
	})
}

// TestRefusedSettings: Docker knows the plugin's settings and refuses others; a value that can't work is what every call is
// answered with, and the plugin stays up for it.
func TestRefusedSettings(t *testing.T) {
	s := own(t, 1)
	h := s.Hosts[0]
	if err := h.InstallPlugin(t.Context(), "ROUTERS=10.42.0.0/24", "LOG_LEVEL=loud"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		refused(t, h, []string{"LOG_LEVEL", "loud"}, with(mesh)...)
	}
	if _, err := h.Docker(t.Context(), "plugin", "disable", "-f", testnet.Plugin); err != nil {
		t.Fatal(err)
	}
	refused(t, h, []string{"COLOUR"}, "plugin", "set", testnet.Plugin, "COLOUR=blue")
	for _, c := range []struct {
		settings []string
		words    []string
	}{
		{[]string{"LOG_LEVEL=info", "ROUTERS=", "JOIN=meshsec1.nonsense"}, []string{"JOIN"}},
		{[]string{"JOIN=/etc/docker/no-such-file"}, []string{"JOIN", "no-such-file"}},
		{[]string{"JOIN=", "ETCD=https://172.30.0.9:2379", "ETCD_CA=/etc/docker/none"}, []string{"ETCD", "/etc/docker/none"}},
		{[]string{"ETCD=", "ETCD_CA=", "PORT=99999"}, []string{"PORT", "99999"}},
		{[]string{"PORT=4500", "ADVERTISE=203.0.113.99"}, []string{"203.0.113.99", "does not have"}},
	} {
		if err := h.SetPlugin(t.Context(), c.settings...); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Docker(t.Context(), "plugin", "enable", testnet.Plugin); err != nil {
			t.Fatal(err)
		}
		refused(t, h, c.words, with(mesh)...)
		said(t, h, c.words)
		if _, err := h.Docker(t.Context(), "plugin", "disable", "-f", testnet.Plugin); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.SetPlugin(t.Context(), "ADVERTISE=eth0"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Docker(t.Context(), "plugin", "enable", testnet.Plugin); err != nil {
		t.Fatal(err)
	}
	refused(t, h, []string{"--ipam-opt meshsec.network=late"}, with("-o", "meshsec.network=late", mesh)...)
	if err := createMesh(t.Context(), h); err != nil {
		t.Errorf("with everything set right: %v", err)
	}
	readable(t, h)
}

// said fails the test unless the host's log, and `meshsec status` with exit code 2, say all the words.
func said(t *testing.T, h *testnet.Host, words []string) {
	t.Helper()
	status, err := h.Meshsec(t.Context(), "status")
	if err == nil || !strings.Contains(err.Error(), "exit status 2") {
		t.Errorf("meshsec status ends with %v: %s", err, status)
	}
	log := h.DockerdLog(1 << 20)
	for _, word := range words {
		if !strings.Contains(status, word) {
			t.Errorf("meshsec status without %q: %s", word, status)
		}
		if !strings.Contains(log, word) {
			t.Errorf("the log does not say %q", word)
		}
	}
}

// TestSecondAgent: a second agent on a host says that there is one.
func TestSecondAgent(t *testing.T) {
	s := shared(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p, err := s.Hosts[0].StartAgent()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(context.Background(), 9) })
	select {
	case <-p.Done():
	case <-ctx.Done():
	}
	if !strings.Contains(p.Output(), "another meshsec agent") {
		t.Errorf("it said: %s", p.Output())
	}
	if _, err := s.Hosts[0].Meshsec(ctx, "status"); err != nil {
		t.Errorf("the first agent suffers: %v", err)
	}
	start(t, s.Hosts[0], mesh, "afterwards")
}
