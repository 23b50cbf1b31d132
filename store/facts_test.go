package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// sampleFacts are good values by key.
func sampleFacts(t testing.TB) map[string][]byte {
	t.Helper()
	id, err := FoundIdentity(testEnv, hostA, "alpha")
	if err != nil {
		t.Fatal(err)
	}
	public, err := id.Public()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := CertDER(id.Cert)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := CertDER(id.CA)
	if err != nil {
		t.Fatal(err)
	}
	host := Host{V: 1, ID: hostA, Name: "alpha", OS: "linux", Arch: "amd64", Version: "1.0", DataPlane: "userspace",
		DataPlaneReason: "no ESP", Cert: cert, HandshakeKey: public, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		Port: 4500, Forwards: []netip.AddrPort{netip.MustParseAddrPort("198.51.100.1:14500")},
		Observed: map[string]netip.AddrPort{hostB: netip.MustParseAddrPort("198.51.100.2:20001")}, Encap: "udp", Router: netip.MustParseAddr("100.127.0.1"), UnderlayMTU: 1500, Since: testTime}
	network := testNetwork("default", "10.42.0.0/16")
	network.Aux = map[string]netip.Addr{"router": netip.MustParseAddr("10.42.0.2")}
	claim := mustEncode(Claim{V: 1, Host: hostA, Since: testTime})
	e := testEndpoint(hostA, 2)
	authorityValue, err := json.Marshal(authority{V: 1, Cert: ca})
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		hostKey(hostA).String():        mustEncode(host),
		aliveKey(hostA).String():       []byte(`{"v":1}`),
		networkKey("default").String(): mustEncode(network),
		blockKey(testBlock).String():   claim,
		staticKey(AddrKey{"default", netip.MustParseAddr("10.42.0.9")}).String(): claim,
		routerKey(host.Router).String():                                          claim,
		endpointKey(e.Key()).String():                                            mustEncode(e),
		kindCA:                                                                   authorityValue,
	}
}

func build(facts map[string][]byte) *Snapshot {
	b := newBuilder(&Snapshot{})
	for key, value := range facts {
		b.set(key, value)
	}
	return &b.next
}

func countFacts(s *Snapshot) int {
	n := len(s.Hosts) + len(s.Alive) + len(s.Networks) + len(s.Blocks) + len(s.Statics) + len(s.Routers) + s.EndpointCount()
	if s.CA != nil {
		n++
	}
	return n
}

func TestSnapshotHoldsEveryKindOfFact(t *testing.T) {
	snap := build(sampleFacts(t))
	if len(snap.Bad) != 0 {
		t.Fatal(snap.Bad)
	}
	if countFacts(snap) != len(sampleFacts(t)) || !snap.Alive[hostA] {
		t.Errorf("something is missing: %+v", snap)
	}
	b := newBuilder(snap)
	for key := range sampleFacts(t) {
		b.remove(key)
	}
	if countFacts(&b.next) != 0 || len(b.next.Endpoints) != 0 {
		t.Errorf("something is left: %+v", b.next)
	}
	if snap.EndpointCount() != 1 || len(snap.Hosts) != 1 {
		t.Error("an earlier snapshot changed")
	}
}

func TestFactsKeepUnknownFields(t *testing.T) {
	for key, value := range sampleFacts(t) {
		k, err := parseKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if k.kind == kindAlive || k.kind == kindCA { // never rewritten
			continue
		}
		later := append([]byte(`{"future":{"a":[1,2]},"Odd":"x",`), value[1:]...)
		fact, err := decodeValue(k, later)
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		again := mustEncode(fact.(json.Marshaler))
		if !sameJSON(t, later, again) {
			t.Errorf("%s: %s became %s", key, later, again)
		}
		if plain, _ := decodeValue(k, value); !bytes.Equal(mustEncode(plain.(json.Marshaler)), value) {
			t.Errorf("%s: %s is not stable", key, value)
		}
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

func manyObserved() string {
	var b strings.Builder
	for i := range MaxObserved {
		fmt.Fprintf(&b, `"%016x":"192.0.2.1:1",`, i)
	}
	return b.String()
}

func TestBadFactsAreIgnoredWithTheReason(t *testing.T) {
	good := sampleFacts(t)
	e := testEndpoint(hostA, 2)
	endpoint := endpointKey(e.Key()).String()
	cases := []struct{ key, old, new, reason string }{
		{endpoint, `"v":1`, `"v":2`, "newer"},
		{endpoint, `"v":1`, `"v":0`, "no version"},
		{endpoint, `{`, `[`, "not readable"},
		{endpoint, hostA, hostB, "host"},
		{endpoint, `"network":"default"`, `"network":"other"`, "network"},
		{endpoint, `"addr":"10.42.64.2"`, `"addr":"10.42.64.3"`, "not that of the key"},
		{endpoint, `"mac":"02`, `"mac":"zz`, "MAC"},
		{endpoint, `"name":"c2"`, `"name":"\u001b[2J"`, "not printable"},
		{endpoint, `"name":"c2"`, `"name":"` + strings.Repeat("x", maxValue) + `"`, "bytes"},
		{endpoint, `"service":"web"`, `"service":"\u001b[2J"`, "service"},
		{endpoint, `"project":"shop"`, `"project":"\n"`, "project"},
		{endpoint, `{"k":"v"}`, `{"k":"\u0007"}`, "label"},
		{endpoint, `{"k":"v"}`, `{"\u0007":"v"}`, "label"},
		{endpoint, `"proto":"udp"`, `"proto":"icmp"`, "port"},
		{endpoint, `"port":53`, `"port":0`, "port"},
		{endpoint, `"port":53`, `"port":65536`, "not readable"},
		{endpoint, `"host_ip":"192.0.2.1"`, `"host_ip":"fe80::1%eth0"`, "port"},
		{"hosts/" + hostA, `"id":"a`, `"id":"b`, "id"},
		{"hosts/" + hostA, `"encap":"udp"`, `"encap":"gre"`, "encapsulation"},
		{"hosts/" + hostA, `"port":4500`, `"port":70000`, "not readable"},
		{"hosts/" + hostA, `"addrs":["192.0.2.1"]`, `"addrs":["fe80::1%eth0"]`, "address"},
		{"hosts/" + hostA, `"198.51.100.1:14500"`, `"198.51.100.1:0"`, "forward address"},
		{"hosts/" + hostA, `"198.51.100.1:14500"`, `""`, "forward address"},
		{"hosts/" + hostA, `"forwards":[`, `"forwards":[` + strings.Repeat(`"192.0.2.1:1",`, 16), "more than 16"},
		{"hosts/" + hostA, `"198.51.100.2:20001"`, `"[fe80::1%eth0]:20001"`, "observed address"},
		{"hosts/" + hostA, `"observed":{"` + hostB, `"observed":{"nobody`, "host ID"},
		{"hosts/" + hostA, `"observed":{`, `"observed":{` + manyObserved(), "more than 512"},
		{"hosts/" + hostA, `"underlay_mtu":1500`, `"underlay_mtu":-1`, "MTU"},
		{"networks/default", `"pool":"10.42.0.0/16"`, `"pool":"10.42.0.1/16"`, "not a network"},
		{"networks/default", `"pool":"10.42.0.0/16"`, `"pool":"10.41.0.0/16"`, "outside the pool"},
		{"networks/default", `"block_len":26`, `"block_len":8`, "block length"},
		{"networks/default", `"name":"default"`, `"name":"x"`, "name"},
		{"blocks/default/10.42.64.0/26", hostA, "nobody", "host ID"},
		{"ca", `"cert":"`, `"cert":"AAAA`, "x509"},
	}
	for _, c := range cases {
		facts := maps.Clone(good)
		if !strings.Contains(string(facts[c.key]), c.old) {
			t.Fatalf("%s: no %q in %s", c.key, c.old, facts[c.key])
		}
		b := newBuilder(build(facts))
		b.set(c.key, []byte(strings.Replace(string(facts[c.key]), c.old, c.new, 1)))
		if reason := b.next.Bad[c.key]; !strings.Contains(reason, c.reason) || len(b.next.Bad) != 1 {
			t.Errorf("%s with %s: got %q, want a reason with %q", c.key, c.new[:min(30, len(c.new))], reason, c.reason)
		}
		if got := countFacts(&b.next); got != len(good)-1 {
			t.Errorf("%s: %d facts, want %d: the value before the bad one must go", c.key, got, len(good)-1)
		}
		b.set(c.key, good[c.key])
		if len(b.next.Bad) != 0 {
			t.Errorf("%s: still bad after a good value: %v", c.key, b.next.Bad)
		}
	}
}

func TestKeysThatAreNotNormal(t *testing.T) {
	good := build(sampleFacts(t))
	for _, key := range []string{"hosts/", "hosts/x", "hosts/" + hostA + "/x", "ca/x", "ca/", "networks/", "networks/a/b", "networks/..x/",
		"networks/.hidden", "blocks/default/10.42.64.1/26", "blocks/default/10.42.64.0", "blocks/default/10.42.64.0/026", "static/default/10.42.0.009",
		"static//10.42.0.9", "routers/fe80::1%eth0", "routers/100.127.0.1/", "endpoints/" + hostA + "/default/", "endpoints//default/10.42.64.2",
		"static/default/0:0::1", "networks/\x00", "networks/" + strings.Repeat("x", 65)} {
		b := newBuilder(good)
		b.set(key, []byte(`{"v":1}`))
		if len(b.next.Bad) != 1 || b.next.Bad[badName(key)] == "" {
			t.Errorf("%q: bad: %q, want a reason", key, b.next.Bad)
		}
		b.remove(key)
		if b.next.Bad = good.Bad; !reflect.DeepEqual(&b.next, good) {
			t.Errorf("%q: removing it changed other facts", key)
		}
	}
	for _, key := range []string{"", "future/x", "/"} {
		b := newBuilder(good)
		b.set(key, []byte("?"))
		if len(b.next.Bad) != 0 || b.changed {
			t.Errorf("%q: %q, want silence: a later version may know it", key, b.next.Bad)
		}
	}
}

func FuzzFacts(f *testing.F) {
	for key, value := range sampleFacts(f) {
		f.Add(key, value)
	}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		b := newBuilder(&Snapshot{})
		b.set(key, value)
		k, err := parseKey(key)
		if err != nil {
			return
		}
		if k.String() != key {
			t.Fatalf("%q and %q are two keys of one fact", key, k)
		}
		fact, err := decodeValue(k, value)
		if (err != nil) != (len(b.next.Bad) == 1) {
			t.Fatalf("%v, but bad: %v", err, b.next.Bad)
		}
		m, ok := fact.(json.Marshaler)
		if err != nil || !ok {
			return
		}
		once := mustEncode(m)
		again, err := decodeValue(k, once)
		if err != nil {
			t.Fatalf("%s is refused once written as %s: %v", value, once, err)
		}
		if twice := mustEncode(again.(json.Marshaler)); !bytes.Equal(once, twice) {
			t.Fatalf("not stable: %s, then %s", once, twice)
		}
		b.remove(key)
		if b.next.EndpointCount() != 0 {
			t.Fatal("not removed")
		}
	})
}
