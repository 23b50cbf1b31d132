package mesh

import (
	"slices"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/store"
)

const base = `
router 100.127.0.1 mtu 1438 revision 42
guard 10.42.0.0/16
guard 10.43.0.0/16
bridge br-default network default 10.42.0.1/16 mac 02:6d:0a:2a:00:01 mtu 1438
filter br-default pool 10.42.0.0/16 gateway 10.42.0.1 routers 100.127.0.0/16
port mve0 mse0 bridge br-default mtu 1438 mac 02:6d:0a:2a:40:02
peer b host-b key 0200 remote 192.0.2.2:4500 udp router 100.127.0.2
route 10.42.65.2/32 peer b
route 100.127.0.2/32 peer b
peer c host-c key 0300 remote 192.0.2.3:4500 udp router 100.127.0.3
route 10.42.66.2/32 peer c
route 100.127.0.3/32 peer c
home br-default 10.42.64.2 mac "02:6d:0a:2a:40:02"
home br-default 10.42.65.2 mac ""
home br-default 10.42.66.2 mac ""
`

func TestDesiredBase(t *testing.T) {
	if got := strings.Join(text(baseFacts().compute()), "\n"); got != strings.TrimSpace(base) {
		t.Errorf("got\n%s", got)
	}
}

// TestDesiredRules: each row changes the base facts and says which lines come (+) and go (-).
func TestDesiredRules(t *testing.T) {
	route := func(a, host string) (lines []string) {
		return []string{"+route " + a + "/32 peer " + host, "+home br-default " + a + ` mac ""`}
	}
	wider := slices.Clip([]string{
		"-router 100.127.0.1 mtu 1438 revision 42", "+router 100.127.0.1 mtu 1446 revision 42",
		"-bridge br-default network default 10.42.0.1/16 mac 02:6d:0a:2a:00:01 mtu 1438", "+bridge br-default network default 10.42.0.1/16 mac 02:6d:0a:2a:00:01 mtu 1446",
		"-port mve0 mse0 bridge br-default mtu 1438 mac 02:6d:0a:2a:40:02", "+port mve0 mse0 bridge br-default mtu 1446 mac 02:6d:0a:2a:40:02",
	})
	for _, row := range []struct {
		rule   string
		change func(*facts)
		want   []string
	}{
		{"an endpoint under a block of its host is carried", func(f *facts) { f.endpoint("b", "default", "10.42.65.3") }, route("10.42.65.3", "b")},
		{"one under a single claim as well", func(f *facts) { f.static("default", "10.42.1.1", "b"); f.endpoint("b", "default", "10.42.1.1") }, route("10.42.1.1", "b")},
		{"one without a claim is not", func(f *facts) { f.endpoint("b", "default", "10.42.1.1") },
			[]string{"+ignored endpoint 10.42.1.1 of host b on network default: under no claim"}},
		{"nor one in another host's block", func(f *facts) { f.endpoint("b", "default", "10.42.66.9") },
			[]string{"+ignored endpoint 10.42.66.9 of host b on network default: under a claim of host c"}},
		{"a claim on the address comes before the block", func(f *facts) { f.static("default", "10.42.66.9", "b"); f.endpoint("b", "default", "10.42.66.9") }, route("10.42.66.9", "b")},
		{"a longer block before a shorter", func(f *facts) { f.block("default", "10.42.66.8/29", "b"); f.endpoint("b", "default", "10.42.66.9") }, route("10.42.66.9", "b")},
		{"of two with one address the claim's owner wins", func(f *facts) { f.endpoint("b", "default", "10.42.66.2") },
			[]string{"+ignored endpoint 10.42.66.2 of host b on network default: under a claim of host c"}},
		{"an address outside the pool is not carried", func(f *facts) { f.static("default", "10.99.1.1", "b"); f.endpoint("b", "default", "10.99.1.1") },
			[]string{"+ignored endpoint 10.99.1.1 of host b on network default: not in the pool 10.42.0.0/16"}},
		{"nor the gateway's", func(f *facts) { f.static("default", "10.42.0.1", "b"); f.endpoint("b", "default", "10.42.0.1") },
			[]string{"+ignored endpoint 10.42.0.1 of host b on network default: it is the gateway's address"}},
		{"nor a value that speaks of another key", func(f *facts) {
			k := store.EndpointKey{Host: "b", Network: "default", Addr: addr("10.42.65.3")}
			f.snap.Endpoints["b"][k] = &store.Endpoint{Host: "b", Network: "default", Addr: addr("10.42.65.4")}
		}, []string{"+ignored endpoint 10.42.65.3 of host b on network default: key and value differ"}},
		{"own endpoints in etcd do not count", func(f *facts) { f.endpoint("a", "default", "10.42.64.9") }, nil},
		{"an address in use here stays here", func(f *facts) { f.static("default", "10.42.64.2", "b"); f.endpoint("b", "default", "10.42.64.2") },
			[]string{"+ignored endpoint 10.42.64.2 of host b on network default: it is in use on this host",
				`+ignored endpoint e0 on this host: 10.42.64.2 is claimed by host "b", so others do not reach it`}},
		{"an endpoint of a host without a fact is not carried", func(f *facts) { f.block("default", "10.42.70.0/26", "x"); f.endpoint("x", "default", "10.42.70.2") },
			[]string{"+ignored endpoint 10.42.70.2 of host x on network default: the host is no peer"}},
		{"a host that was removed has nothing but its guard", func(f *facts) {
			f.snap.Revoked = map[string]store.Revocation{"a": {V: 1, Host: "a"}}
		}, slices.Collect(func(yield func(string) bool) {
			for line := range strings.Lines(strings.TrimSpace(base)) {
				if line = strings.TrimSpace(line); !strings.HasPrefix(line, "guard") && !strings.HasPrefix(line, "router") && !yield("-"+line) {
					return
				}
			}
			yield("+ignored all facts: this host was removed from the environment at 0001-01-01T00:00:00Z")
		})},
		{"a network that comes here brings its routes", func(f *facts) { f.onThisHost("d1", "other", "10.43.0.0/16") }, []string{
			"+bridge br-other network other 10.43.0.1/16 mac 02:6d:0a:2b:00:01 mtu 1438", "+filter br-other pool 10.43.0.0/16 gateway 10.43.0.1 routers 100.127.0.0/16",
			`+home br-other 10.43.65.2 mac ""`, `+home br-other 10.43.66.2 mac ""`, "+route 10.43.65.2/32 peer b", "+route 10.43.66.2/32 peer c"}},
		{"one that only this host knows of is carried, and guarded", func(f *facts) { f.onThisHost("d1", "new", "10.44.0.0/16") }, []string{
			"+bridge br-new network new 10.44.0.1/16 mac 02:6d:0a:2c:00:01 mtu 1438", "+filter br-new pool 10.44.0.0/16 gateway 10.44.0.1 routers 100.127.0.0/16", "+guard 10.44.0.0/16"}},
		{"a pool is guarded as soon as Docker has it", func(f *facts) { f.local.Pools["p"] = store.LocalPool{Pool: prefix("10.45.0.0/16")} }, []string{"+guard 10.45.0.0/16"}},
		{"a network that nobody has anything in is not guarded", func(f *facts) { f.network("bait", "8.0.0.0/8") }, nil},
		{"nor one with claims elsewhere only", func(f *facts) { f.network("bait", "8.0.0.0/8"); f.block("bait", "10.60.0.0/26", "b") }, nil},
		{"with a claim it is", func(f *facts) { f.network("new", "10.60.0.0/16"); f.static("new", "10.60.0.9", "b") }, []string{"+guard 10.60.0.0/16"}},
		{"overlapping networks: the first by name", func(f *facts) { f.onThisHost("d1", "eve", "10.42.64.0/20") },
			[]string{"+guard 10.42.64.0/20", "+ignored network eve on this host: its pool 10.42.64.0/20 overlaps with that of network default"}},
		{"a network twice: the first Docker ID", func(f *facts) { f.onThisHost("d1", "default", "10.42.0.0/16") }, []string{"+ignored network default is on this host twice: as d0 and d1"}},
		{"a gateway outside the pool", func(f *facts) {
			f.local.Networks["d1"] = store.LocalNetwork{Network: "bad", Pool: prefix("10.46.0.0/16"), Gateway: addr("10.47.0.1")}
		}, []string{"+guard 10.46.0.0/16", "+ignored network bad on this host: gateway 10.47.0.1 is not in its pool 10.46.0.0/16"}},
		{"an own MTU of a network", func(f *facts) { n := f.local.Networks["d0"]; n.MTU = 1300; f.local.Networks["d0"] = n }, []string{
			"-bridge br-default network default 10.42.0.1/16 mac 02:6d:0a:2a:00:01 mtu 1438", "+bridge br-default network default 10.42.0.1/16 mac 02:6d:0a:2a:00:01 mtu 1300",
			"-port mve0 mse0 bridge br-default mtu 1438 mac 02:6d:0a:2a:40:02", "+port mve0 mse0 bridge br-default mtu 1300 mac 02:6d:0a:2a:40:02"}},
		{"a local endpoint without its network", func(f *facts) { f.ownEndpoint("e1", "other", "10.43.64.2") }, []string{"+ignored endpoint e1 on this host: network other is not"}},
		{"a host without a key is no peer", func(f *facts) { f.changeHost("b", func(h *store.Host) { h.HandshakeKey = nil }) },
			append(without("b", "10.42.65.2"), "+ignored host b: it has no handshake key")},
		{"nor one without an address", func(f *facts) { f.changeHost("b", func(h *store.Host) { h.Addrs = nil }) },
			append(without("b", "10.42.65.2"), "+ignored host b: it has no underlay address and port")},
		{"nor one without an address of this host's family", func(f *facts) {
			f.o.V6, f.o.UnderlayMTU = true, 1520
			delete(f.snap.Hosts, "c")
			delete(f.snap.Endpoints, "c")
		},
			append(append(without("b", "10.42.65.2"), "+ignored host b: it has no underlay address and port"), without("c", "10.42.66.2")[:4]...)},
		{"nor the second with one key", func(f *facts) {
			f.changeHost("c", func(h *store.Host) { h.HandshakeKey = f.snap.Hosts["b"].HandshakeKey })
		},
			append(without("c", "10.42.66.2"), "+ignored host c: it has the handshake key of host b")},
		{"a router address needs a claim", func(f *facts) { f.snap.Routers[addr("100.127.0.2")] = store.Claim{Host: "c"} }, noRouter("100.127.0.2", "not under a claim of the host")},
		{"and must not be this host's", func(f *facts) { f.local.Identity.Router = addr("100.127.0.2") },
			append(noRouter("100.127.0.2", "it is this host's"), "-router 100.127.0.1 mtu 1438 revision 42", "+router 100.127.0.2 mtu 1438 revision 42")},
		{"nor inside a pool", func(f *facts) {
			f.changeHost("b", func(h *store.Host) { h.Router = addr("10.43.9.9") })
			f.snap.Routers[addr("10.43.9.9")] = store.Claim{Host: "b"}
		}, noRouter("10.43.9.9", "it is inside the pool 10.43.0.0/16")},
		{"a peer's smaller MTU counts for its routes", func(f *facts) { f.changeHost("b", func(h *store.Host) { h.UnderlayMTU = 1400 }) },
			[]string{"+mtu 1338 peer b"}},
		{"a larger one does not", func(f *facts) { f.changeHost("b", func(h *store.Host) { h.UnderlayMTU = 9000 }) }, nil},
		{"nor one above the path's", func(f *facts) {
			f.o.PathMTU = func(id string) int { return map[string]int{"b": 1300, "c": 9000}[id] }
		}, []string{"+mtu 1300 peer b"}},
		{"unless it is absurd", func(f *facts) { f.changeHost("b", func(h *store.Host) { h.UnderlayMTU = 100 }) }, nil},
		{"ESP without UDP if both want it", func(f *facts) { f.o.Encap = ipsec.EncapESP; f.changeHost("b", func(h *store.Host) { h.Encap = "esp" }) },
			append(wider, "-peer b host-b key 0200 remote 192.0.2.2:4500 udp router 100.127.0.2", "+peer b host-b key 0200 remote 192.0.2.2:4500 esp router 100.127.0.2", "+mtu 1438 peer c")},
		{"UDP if only this host wants ESP without", func(f *facts) { f.o.Encap = ipsec.EncapESP }, append(wider, "+mtu 1438 peer b", "+mtu 1438 peer c")},
		{"or only the peer", func(f *facts) { f.changeHost("b", func(h *store.Host) { h.Encap = "esp" }) }, nil},
		{"a lost host keeps its tunnel only", func(f *facts) { f.o.Lost = func(id string) bool { return id == "b" || id == "a" } },
			[]string{"+ignored endpoints of host b: it is lost", "-home br-default 10.42.65.2 mac \"\"", "-route 10.42.65.2/32 peer b"}},
		{"a dead host keeps its routes", func(f *facts) { f.snap.Alive = map[string]bool{"a": true} }, nil},
	} {
		t.Run(row.rule, func(t *testing.T) {
			f := baseFacts()
			row.change(f)
			got := difference(strings.Split(strings.TrimSpace(base), "\n"), text(f.compute()))
			slices.Sort(row.want)
			if !slices.Equal(got, row.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(row.want, "\n"))
			}
		})
	}
}

// without are the lines that go when a host is no peer.
func without(host, endpoint string) []string {
	n := map[string]string{"b": "2", "c": "3"}[host]
	return []string{
		"-peer " + host + " host-" + host + " key 0" + n + "00 remote 192.0.2." + n + ":4500 udp router 100.127.0." + n,
		"-route " + endpoint + "/32 peer " + host, "-route 100.127.0." + n + "/32 peer " + host, "-home br-default " + endpoint + ` mac ""`,
		"+ignored endpoint " + endpoint + " of host " + host + " on network default: the host is no peer",
	}
}

// noRouter are the lines when host b's router address is not accepted.
func noRouter(router, why string) []string {
	return []string{"+ignored host b: router address " + router + ": " + why, "-route 100.127.0.2/32 peer b",
		"-peer b host-b key 0200 remote 192.0.2.2:4500 udp router 100.127.0.2", "+peer b host-b key 0200 remote 192.0.2.2:4500 udp router invalid IP"}
}

func difference(old, new []string) (lines []string) {
	for _, l := range old {
		if !slices.Contains(new, l) {
			lines = append(lines, "-"+l)
		}
	}
	for _, l := range new {
		if !slices.Contains(old, l) {
			lines = append(lines, "+"+l)
		}
	}
	slices.Sort(lines)
	return lines
}
