package plugin

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

const (
	networkID  = "086baff839e0bbe990462fd45a42aaad1424f473f2e1343b56012db1c5fc8895"
	endpointID = "58ffb94339ebceb2c9fb86b8c5556ee90ea593f12d2144a5798b89f7865faba5"
	ids        = `"NetworkID":"` + networkID + `","EndpointID":"` + endpointID + `"`
)

// good holds a request for each method that takes one; backend says that a driver must have seen it.
var good = []struct {
	method, body string
	backend      bool
}{
	{"NetworkDriver.CreateNetwork", `{"NetworkID":"` + networkID + `","IPv4Data":[{"AddressSpace":"MeshsecLocal","Pool":"10.42.0.0/16","Gateway":"10.42.0.1/16","AuxAddresses":{"a":"10.42.5.7/16"}}],"IPv6Data":[],"Options":{"com.docker.network.generic":{}}}`, true},
	{"NetworkDriver.DeleteNetwork", `{"NetworkID":"` + networkID + `"}`, true},
	{"NetworkDriver.CreateEndpoint", `{` + ids + `,"Interface":{"Address":"10.42.64.9/16","AddressIPv6":"","MacAddress":""},"Options":{}}`, true},
	{"NetworkDriver.DeleteEndpoint", `{` + ids + `}`, true},
	{"NetworkDriver.Join", `{` + ids + `,"SandboxKey":"/run/docker/netns/114e96809621","Options":{}}`, true},
	{"NetworkDriver.Leave", `{` + ids + `}`, true},
	{"NetworkDriver.EndpointOperInfo", `{` + ids + `}`, false},
	{"NetworkDriver.ProgramExternalConnectivity", `{` + ids + `,"Options":{}}`, false},
	{"NetworkDriver.RevokeExternalConnectivity", `{` + ids + `}`, false},
	{"NetworkDriver.GwAllocCheck", `{"Options":{}}`, false},
	{"NetworkDriver.DiscoverNew", `{"DiscoveryType":1,"DiscoveryData":{"Address":"192.0.2.1","BindAddress":"","Self":false}}`, false},
	{"NetworkDriver.DiscoverDelete", `{"DiscoveryType":1,"DiscoveryData":{"Address":"192.0.2.1","BindAddress":"","Self":false}}`, false},
	{"NetworkDriver.FreeNetwork", `{"NetworkID":"iz6jhl4skcnrt43d3q2cv9c5t"}`, false},
	{"IpamDriver.RequestPool", `{"AddressSpace":"MeshsecLocal","Pool":"","SubPool":"","Options":null,"V6":false}`, true},
	{"IpamDriver.ReleasePool", `{"PoolID":"MeshsecLocal/default"}`, true},
	{"IpamDriver.RequestAddress", `{"PoolID":"MeshsecLocal/default","Address":"","Options":null}`, true},
	{"IpamDriver.ReleaseAddress", `{"PoolID":"MeshsecLocal/default","Address":"10.42.64.9"}`, true},
}

// static are the methods that take no request.
var static = map[string]string{
	"Plugin.Activate":                    `{"Implements":["NetworkDriver","IpamDriver"]}`,
	"NetworkDriver.GetCapabilities":      `{"Scope":"local","ConnectivityScope":"global","GwAllocChecker":false}`,
	"IpamDriver.GetCapabilities":         `{"RequiresMACAddress":false,"RequiresRequestReplay":false}`,
	"IpamDriver.GetDefaultAddressSpaces": `{"LocalDefaultAddressSpace":"MeshsecLocal","GlobalDefaultAddressSpace":"MeshsecGlobal"}`,
}

func TestEachCallSucceeds(t *testing.T) {
	for _, c := range good {
		f := new(fake)
		d := start(t, f)
		status, reply, text := d.ask(t, c.method, c.body)
		if status != http.StatusOK || text != "" {
			t.Errorf("%s: %d %s", c.method, status, reply)
		}
		if want := map[bool]int{true: 1}[c.backend]; len(f.seen()) != want {
			t.Errorf("%s: the drivers saw %q, want %d calls", c.method, f.seen(), want)
		}
		// the fields that a later Docker may add
		more := strings.TrimSuffix(c.body, "}") + `,"Later":{"x":[1]}}`
		if status, reply, _ := d.ask(t, c.method, more); status != http.StatusOK {
			t.Errorf("%s with an unknown field: %d %s", c.method, status, reply)
		}
	}
}

func TestCase1StaticCallsNeedNoBody(t *testing.T) {
	d := start(t, nil)
	for method, want := range static {
		for _, body := range []string{"", "null", "{}", "garbage"} {
			if status, reply, _ := d.ask(t, method, body); status != http.StatusOK || reply != want {
				t.Errorf("%s with body %q: %d %s, want %s", method, body, status, reply, want)
			}
		}
	}
}

func TestScopes(t *testing.T) {
	d := serve(t, New(socket(t), quiet(io.Discard), Options{Scope: "global", ConnectivityScope: "local"}))
	want := `{"Scope":"global","ConnectivityScope":"local","GwAllocChecker":false}`
	if _, reply, _ := d.ask(t, "NetworkDriver.GetCapabilities", "null"); reply != want {
		t.Errorf("got %s, want %s", reply, want)
	}
}

// Each call with a body that can't be right is an error that says what is wrong, and no driver hears of it.
func TestCase1BadRequests(t *testing.T) {
	f := new(fake)
	d := start(t, f)
	bad := []struct{ body, want string }{
		{"", "request body lost (Docker retried after a plugin restart); please repeat"},
		{" \r\n", "request body lost"},
		{"null", `not a JSON object but "null"`},
		{"{}", "is missing in the request"},
		{"garbage", "not a JSON object"},
		{"[]", "not a JSON object"},
		{`"text"`, "not a JSON object"},
		{`{"NetworkID":`, "not what Docker sends"},
		{`{} {}`, "not what Docker sends"},
		{`{"NetworkID":7,"PoolID":7,"Options":7,"DiscoveryType":"x","AddressSpace":{}}`, "not what Docker sends"},
		{`{"NetworkID":"","EndpointID":"","PoolID":"","AddressSpace":""}`, "is missing in the request"},
		{strings.Repeat(" ", maxBody+1), "request is larger than 1048576 bytes"},
	}
	for _, c := range good {
		for _, b := range bad {
			status, reply, text := d.ask(t, c.method, b.body)
			if status != http.StatusInternalServerError || !strings.Contains(text, b.want) || !strings.HasPrefix(text, "meshsec: ") {
				t.Errorf("%s with body %.40q: %d %s, want %q", c.method, b.body, status, reply, b.want)
			}
		}
	}
	if seen := f.seen(); len(seen) != 0 {
		t.Errorf("the drivers heard of %q", seen)
	}
}

func TestCase1BadFields(t *testing.T) {
	f := new(fake)
	d := start(t, f)
	network := `"NetworkID":"` + networkID + `"`
	for _, c := range []struct{ method, body, want string }{
		{"NetworkDriver.Join", `{` + network + `}`, "EndpointID is missing"},
		{"NetworkDriver.Join", `{` + ids + `}`, "SandboxKey is missing"},
		{"NetworkDriver.CreateEndpoint", `{` + ids + `,"Interface":null}`, "Interface is missing"},
		{"NetworkDriver.Leave", `{"NetworkID":"../../etc","EndpointID":"x"}`, `NetworkID "../../etc" is not one of Docker's IDs`},
		{"NetworkDriver.Leave", `{` + network + `,"EndpointID":"` + strings.Repeat("a", 129) + `"}`, "is not one of Docker's IDs"},
		{"NetworkDriver.CreateNetwork", `{` + network + `,"IPv4Data":[null]}`, "an entry of the network's IPAM data is null"},
		{"NetworkDriver.CreateNetwork", `{` + network + `,"IPv6Data":[{"AuxAddresses":{"a":7}}]}`, `auxiliary address "a" is no text`},
		{"NetworkDriver.CreateNetwork", `{` + network + `,"IPv4Data":{}}`, "not what Docker sends"},
		{"IpamDriver.ReleaseAddress", `{"PoolID":"p"}`, "Address is missing"},
		{"NetworkDriver.AllocateNetwork", `{"NetworkID":"iz6jhl4skcnrt43d3q2cv9c5t"}`, "--config-only"},
		{"NetworkDriver.AllocateNetwork", `{}`, "NetworkID is missing"},
	} {
		if status, reply, text := d.ask(t, c.method, c.body); status == http.StatusOK || !strings.Contains(text, c.want) {
			t.Errorf("%s %s: %d %s, want %q", c.method, c.body, status, reply, c.want)
		}
	}
	if seen := f.seen(); len(seen) != 0 {
		t.Errorf("the drivers heard of %q", seen)
	}
}

func TestUnknownMethod(t *testing.T) {
	d := start(t, nil)
	if status, _, text := d.ask(t, "VolumeDriver.Create", "{}"); status != http.StatusNotFound || text != `meshsec: unknown method "/VolumeDriver.Create"` {
		t.Errorf("%d %q", status, text)
	}
}

// What has no meaning for a plugin without a gateway of its own is answered all the same, for things that it does not know, too.
func TestCase6ConnectivityAndInfo(t *testing.T) {
	f := new(fake)
	d := start(t, f)
	for method, want := range map[string]string{
		"ProgramExternalConnectivity": `{}`, "RevokeExternalConnectivity": `{}`, "EndpointOperInfo": `{"Value":{}}`,
	} {
		for _, endpoint := range []string{endpointID, strings.Repeat("0", 64)} {
			body := `{"NetworkID":"` + networkID + `","EndpointID":"` + endpoint + `","Options":{"com.docker.network.portmap":[{"Proto":6,"Port":80}]}}`
			if status, reply, _ := d.ask(t, "NetworkDriver."+method, body); status != http.StatusOK || reply != want {
				t.Errorf("%s: %d %s", method, status, reply)
			}
		}
	}
	if seen := f.seen(); len(seen) != 0 {
		t.Errorf("the drivers heard of %q", seen)
	}
}
