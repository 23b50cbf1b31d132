package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/internal/testnet"
)

// network creates one with flags for the test's duration.
func network(t *testing.T, h *testnet.Host, name string, flags ...string) {
	t.Helper()
	docker(t, h, with(append(flags, name)...))
	t.Cleanup(func() { removeNetwork(t, h, name) })
}

// TestCase17AddressOptions: --ip-range, --gateway, --aux-address and --ip are kept, on every host.
func TestCase17AddressOptions(t *testing.T) {
	s := shared(t)
	near, far := s.Hosts[0], s.Hosts[1]
	const plan = "plan"
	flags := []string{"--subnet", "10.78.0.0/16", "--gateway", "10.78.0.254", "--aux-address", "printer=10.78.64.0", "--aux-address", "nas=10.78.0.7"}
	network(t, near, plan, append(flags, "--ip-range", "10.78.64.0/24")...)
	refused(t, far, []string{"--gateway", "10.78.0.254"}, with("--subnet", "10.78.0.0/16", "--gateway", "10.78.0.9", plan)...)
	refused(t, far, []string{"10.78.9.9", "auxiliary"}, with("--subnet", "10.78.0.0/16", "--gateway", "10.78.0.254", "--aux-address", "x=10.78.9.9", plan)...)
	refused(t, far, []string{"ip-range"}, with("--subnet", "10.78.0.0/16", "--ip-range", "10.79.0.0/24", plan)...)
	network(t, far, plan, append(flags, "--ip-range", "10.78.200.0/24")...)

	var all []*testnet.Container
	for h, pool := range map[*testnet.Host]string{near: "10.78.64.0/24", far: "10.78.200.0/24"} {
		c := start(t, h, plan, "ranged-"+h.Name)
		if !netip.MustParsePrefix(pool).Contains(c.Addr) || c.Addr == netip.MustParseAddr("10.78.64.0") {
			t.Errorf("%s: %v is not of %s", h.Name, c.Addr, pool)
		}
		all = append(all, c)
	}
	fixed := start(t, near, plan, "fixed", "--ip", "10.78.0.9")
	if fixed.Addr != netip.MustParseAddr("10.78.0.9") {
		t.Errorf("--ip gave %v", fixed.Addr)
	}
	s.reach(t, all[0], all[1].Addr)
	s.reach(t, all[1], fixed.Addr)
	for addr, words := range map[string][]string{"10.78.0.254": {"10.78.0.254"}, "10.78.0.7": {"10.78.0.7"}, "10.78.64.0": {"10.78.64.0"}} {
		refused(t, near, words, "run", "-d", "--name", "taken", "--network", plan, "--ip", addr, testnet.Image)
		remove(t, near, "taken")
	}
	if out, err := fixed.Exec(t.Context(), "ping", "-c1", "-W2", "10.78.0.254"); err != nil {
		t.Errorf("the gateway: %v: %s", err, out)
	}
}

// TestCase17IPv6IsRefused: there is no dual stack yet, and what asks for it says so.
func TestCase17IPv6IsRefused(t *testing.T) {
	s := shared(t)
	h := s.Hosts[0]
	before := footprint(t, s)
	refused(t, h, []string{"IPv4 only", "--ipv6"}, with("--ipv6", "--ipam-opt", "meshsec.network=six", "six")...)
	refused(t, h, []string{"IPv4 only", "--ipv6"}, with("--ipv6", "--subnet", "10.78.0.0/16", "--subnet", "fd00:78::/64", "six")...)
	refused(t, h, nil, "run", "-d", "--name", "six", "--network", mesh, "--ip6", "fd00::9", testnet.Image) // Docker itself
	remove(t, h, "six")
	refused(t, h, []string{"group"}, "run", "-d", "--name", "six", "--network", mesh, "--mac-address", "01:00:5e:00:00:01", testnet.Image)
	remove(t, h, "six")
	leftNothing(t, s, before)
}

// TestDriverOptions: an endpoint's driver options that would have no effect are refused by their names.
func TestDriverOptions(t *testing.T) {
	s := shared(t)
	h := s.Hosts[0]
	c := start(t, h, "bridge", "optional")
	for _, option := range []string{"colour=blue", "meshsec.speed=1", "com.docker.network.driver.mtu=1300"} {
		name, _, _ := strings.Cut(option, "=")
		refused(t, h, []string{"driver option " + name}, "network", "connect", "--driver-opt", option, mesh, c.Name)
	}
	docker(t, h, []string{"network", "connect", mesh, c.Name})
}

// TestMTUOption: what the network says is what its containers have.
func TestMTUOption(t *testing.T) {
	s := shared(t)
	h := s.Hosts[0]
	for i, option := range []string{"com.docker.network.driver.mtu", "meshsec.mtu"} {
		name := fmt.Sprint("narrow", i)
		network(t, h, name, "--ipam-opt", "meshsec.network="+name, "-o", option+"=1300")
		c := start(t, h, name, "in-"+name)
		if out, err := c.Exec(t.Context(), "ip", "link", "show", "eth0"); err != nil || !strings.Contains(out, "mtu 1300") {
			t.Errorf("%s: %v: %s", option, err, out)
		}
	}
}

// TestCase17PublishedPorts: -p with ranges, UDP and an address of the host is Docker's own matter, and seen as on a bridge network.
func TestCase17PublishedPorts(t *testing.T) {
	s := shared(t)
	h := s.Hosts[0]
	c := start(t, h, mesh, "ports", "-p", "8100-8102:9000-9002", "-p", "8053:53/udp", "-p", h.Addr.String()+":8443:9000", "-p", "8200-8210:9100")
	shown, err := h.Docker(t.Context(), "ps", "--filter", "name=ports", "--format", "{{.Ports}}")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{":8100->9000/tcp", ":8101->9001/tcp", ":8102->9002/tcp", ":8053->53/udp", h.Addr.String() + ":8443->9000/tcp", "->9100/tcp"} {
		if !strings.Contains(shown, want) {
			t.Errorf("docker ps shows %q, without %q", shown, want)
		}
	}
	eventually(t, "the ports in the fact", func() error {
		e, err := known(t.Context(), s.Hosts[1], c.Addr)
		if got := strings.Join(e.Ports, " "); err == nil && got != fmt.Sprintf("*:8053->53/udp *:8100->9000/tcp %v:8443->9000/tcp *:8101->9001/tcp *:8102->9002/tcp *:8200->9100/tcp", h.Addr) {
			err = fmt.Errorf("they are %q", got)
		}
		return err
	})
	for _, port := range []string{"8100", "8443"} {
		out, err := s.Outside.Run(t.Context(), s.Dir()+"/probe", "transfer", "-port", port, "-size", "1000", h.Addr.String())
		if err != nil || !strings.Contains(out, `"up":true,"down":true`) {
			t.Errorf("port %s from outside: %s, %v", port, out, err)
		}
	}
}

// TestLinkLocalAddress: Docker tells no plugin of --link-local-ip. The container has the address, the network does not carry it,
// and the agent says so.
func TestLinkLocalAddress(t *testing.T) {
	s := shared(t)
	h := s.Hosts[0]
	c := start(t, h, "bridge", "local")
	docker(t, h, []string{"network", "connect", "--link-local-ip", "169.254.7.7", mesh, c.Name})
	on, err := h.Container(t.Context(), mesh, c.Name)
	if err != nil {
		t.Fatal(err)
	}
	s.reach(t, on, start(t, h, mesh, "peer").Addr)
	eventually(t, "the warning", func() error {
		if log := h.DockerdLog(2000); !strings.Contains(log, "--link-local-ip 169.254.7.7") {
			return fmt.Errorf("no word of it in the log")
		}
		return nil
	})
}
