package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

// fromDocker reads options as they come over the wire.
func fromDocker(t *testing.T, text string) map[string]any {
	t.Helper()
	var options map[string]any
	if err := json.Unmarshal([]byte(text), &options); err != nil {
		t.Fatal(err)
	}
	return options
}

func TestPortsThatDockerTells(t *testing.T) {
	local := netip.MustParseAddr("127.0.0.1")
	for name, c := range map[string]struct {
		published, exposed string
		want               []store.Port
	}{
		"none": {`[]`, `[]`, nil},
		"published on all addresses and on one, and exposed": {
			`[{"Proto":17,"IP":"","Port":81,"HostIP":"127.0.0.1","HostPort":18081,"HostPortEnd":18081},
			  {"Proto":6,"IP":"","Port":80,"HostIP":"0.0.0.0","HostPort":18080,"HostPortEnd":18080}]`,
			`[{"Proto":6,"Port":99},{"Proto":6,"Port":80},{"Proto":17,"Port":81}]`,
			[]store.Port{{Proto: "tcp", Port: 80, HostPort: 18080}, {Proto: "udp", Port: 81, HostPort: 18081, HostIP: local}, {Proto: "tcp", Port: 99}}},
		"one that Docker will choose": {`[{"Proto":6,"Port":80,"HostPort":0,"HostPortEnd":0}]`, `[{"Proto":6,"Port":80}]`,
			[]store.Port{{Proto: "tcp", Port: 80}}},
		"one that Docker will choose from a range": {`[{"Proto":132,"Port":80,"HostPort":8000,"HostPortEnd":8010}]`, `null`,
			[]store.Port{{Proto: "sctp", Port: 80}}},
		"the same twice": {`[{"Proto":6,"Port":80,"HostIP":"0.0.0.0","HostPort":80,"HostPortEnd":80},{"Proto":6,"Port":80,"HostIP":"::","HostPort":80,"HostPortEnd":80}]`,
			`[]`, []store.Port{{Proto: "tcp", Port: 80, HostPort: 80}}},
		"what is not known":  {`[{"Proto":1,"Port":8}]`, `[{"Proto":6,"Port":65536},{"Proto":6,"Port":-1},{"Proto":6,"Port":0}]`, nil},
		"what has no form":   {`{"a":1}`, `["80/tcp"]`, nil},
		"an address of none": {`[{"Proto":6,"Port":80,"HostIP":"fe80::1%eth0","HostPort":80,"HostPortEnd":80}]`, `7`, []store.Port{{Proto: "tcp", Port: 80, HostPort: 80}}},
	} {
		got := requested(fromDocker(t, fmt.Sprintf(`{%q:%s,%q:%s}`, optionPublished, c.published, optionExposed, c.exposed)))
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	var many []string
	for port := range 2000 {
		many = append(many, fmt.Sprintf(`{"Proto":6,"Port":%d}`, port+1))
	}
	if got := requested(fromDocker(t, fmt.Sprintf(`{%q:[%s]}`, optionExposed, strings.Join(many, ",")))); len(got) != maxPorts || got[maxPorts-1].Port != maxPorts {
		t.Errorf("%d ports, not the lowest %d", len(got), maxPorts)
	}
}

// What 29 sends with sysctls, --dns and --mac-address: Docker honours these itself.
func TestOptionsThatDockerHonours(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	pool := r.network(net1, "blue")
	for i, options := range []string{
		`{"com.docker.network.endpoint.exposedports":[],"com.docker.network.endpoint.sysctls":"net.ipv4.conf.IFNAME.forwarding=1","com.docker.network.portmap":[]}`,
		`{"com.docker.network.endpoint.dnsservers":["169.254.169.250"],"com.docker.network.endpoint.macaddress":"AhEiM0RV"}`,
		`{"com.docker.network.driver.private.no_proxy_6to4":true}`,
	} {
		_, err := r.driver.CreateEndpoint(context.Background(), EndpointRequest{NetworkID: net1, EndpointID: ep1[1:] + fmt.Sprint(i),
			Address: r.address(pool, "", ""), Options: fromDocker(t, options)})
		if err != nil {
			t.Errorf("%s: %v", options, err)
		}
	}
}

func TestPortsReachTheFact(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	pool := r.network(net1, "blue")
	addr := r.address(pool, "", "web")
	_, err := r.driver.CreateEndpoint(context.Background(), EndpointRequest{NetworkID: net1, EndpointID: ep1, Address: addr,
		Options: fromDocker(t, `{"com.docker.network.portmap":[{"Proto":6,"Port":80,"HostPort":8080,"HostPortEnd":8080}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	r.Wait("the fact", func() bool {
		e, _ := r.Store.Snapshot().FindEndpoint("blue", netip.MustParsePrefix(addr).Addr())
		return slices.Equal(e.Ports, []store.Port{{Proto: "tcp", Port: 80, HostPort: 8080}})
	})
}
