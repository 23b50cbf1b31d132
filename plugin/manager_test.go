package plugin

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/docker/go-plugins-helpers/network"
)

// With global scope a Swarm's leader has its networks allocated by the driver, and gets the options back that it gave.
func TestGlobalScope(t *testing.T) {
	f := new(fake)
	s := New(socket(t), quiet(io.Discard), Options{Scope: network.GlobalScope})
	s.SetBackend(f, f)
	d := serve(t, s)
	const id = "opanrg6o2sxmn5941b3nj294u"
	status, reply, text := d.ask(t, "NetworkDriver.AllocateNetwork",
		`{"NetworkID":"`+id+`","Options":{"meshsec.sticky":"off"},"IPv4Data":[{"AddressSpace":"","Pool":"10.77.1.0/24","Gateway":"10.77.1.1/24"}],"IPv6Data":null}`)
	if status != http.StatusOK || text != "" || !strings.Contains(string(reply), `{"meshsec.sticky":"off"}`) {
		t.Errorf("%d %s %s", status, reply, text)
	}
	if _, _, text := d.ask(t, "NetworkDriver.FreeNetwork", `{"NetworkID":"`+id+`"}`); text != "" {
		t.Error(text)
	}
	want := []string{`AllocateNetwork ["` + id + `",[{"AddressSpace":"","Pool":"10.77.1.0/24","Gateway":"10.77.1.1/24","Aux":null}],{"meshsec.sticky":"off"}]`,
		`FreeNetwork ["` + id + `"]`}
	if got := f.seen(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q", got)
	}
	if _, _, text := d.ask(t, "NetworkDriver.AllocateNetwork", `{"NetworkID":"`+id+`","IPv6Data":[{"Pool":"fd00::/64"}]}`); !strings.Contains(text, "IPv4 only") {
		t.Error(text)
	}
	if _, _, text := d.ask(t, "NetworkDriver.AllocateNetwork", `{"NetworkID":"../x"}`); text == "" {
		t.Error("an ID that is none is taken")
	}
	if _, reply, _ := d.ask(t, "NetworkDriver.GetCapabilities", `null`); !strings.Contains(string(reply), `"Scope":"global"`) {
		t.Errorf("%s", reply)
	}
}
