package mesh

import (
	"math/rand/v2"
	"testing"

	"github.com/meshsec/meshsec/link"
)

// TestPortsSendAsTheirEndpoint: what a port may send as is what the checkpoint says of its endpoint, and no two ports of a
// bridge may send as one address.
func TestPortsSendAsTheirEndpoint(t *testing.T) {
	ports := 0
	for seed := range uint64(100) {
		f := play("h0", randomEdits(rand.New(rand.NewPCG(seed, 4)), 4))
		taken := map[home]string{}
		facts := map[home]string{}
		for _, e := range f.local.Endpoints {
			facts[home{link.BridgeName(e.Network), e.Addr}] = e.MAC
		}
		for _, p := range f.compute().Ports {
			ports++
			at := home{p.Bridge, p.Addr}
			if other, ok := taken[at]; ok {
				t.Fatalf("seed %d: %s and %s may both send as %v", seed, other, p.RouterEnd, at)
			}
			taken[at] = p.RouterEnd
			if facts[at] != p.MAC.String() {
				t.Fatalf("seed %d: %s may send as %v with %s, the endpoint has %q", seed, p.RouterEnd, at, p.MAC, facts[at])
			}
		}
	}
	if ports == 0 {
		t.Error("no seed has a port")
	}
}
