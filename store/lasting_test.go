package store

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// A network in which hosts have claims stays what it is, whatever is written to etcd.
func TestANetworkInUseIsNotChanged(t *testing.T) {
	c := newCourt(t)
	c.meet(hostA, hostB)
	network, block := networkKey(testBlock.Network).String(), blockKey(testBlock).String()
	value := func(n Network) string { return string(mustEncode(n)) }
	good := testNetwork(testBlock.Network, "10.42.0.0/16")
	wide, moved, shifted := testNetwork(good.Name, "10.0.0.0/8"), testNetwork(good.Name, "10.42.0.0/16"), testNetwork(good.Name, "10.44.0.0/16")
	moved.Gateway = netip.MustParseAddr("10.42.0.9")
	want := func(what string, n Network) {
		t.Helper()
		if got := c.snap.Networks[good.Name]; !reflect.DeepEqual(got, n) {
			t.Errorf("%s: %+v", what, got)
		}
	}
	c.shows(map[string]string{network: value(wide)})
	c.shows(map[string]string{network: value(good)})
	want("nobody has anything in it", good)
	c.shows(map[string]string{block: c.claim(hostA, testTime)})
	for what, n := range map[string]Network{"a wider pool": wide, "another gateway": moved, "another pool": shifted} {
		c.shows(map[string]string{network: value(n)})
		want(what, good)
		c.wantBad(network, "hosts have claims in")
		c.shows(map[string]string{network: ""}) // one that uses it puts it back
		c.shows(map[string]string{network: value(n)})
		want("deleted, then "+what, good)
		c.wantBad(network, "hosts have claims in")
	}
	c.restarts(map[string]string{network: value(wide), block: c.claim(hostA, testTime), hostKey(hostA).String(): c.signed(t, hostA, hostKey(hostA), c.hostFact(t, hostA, "a", 1))})
	want("after a restart", good)
	c.wantBad(network, "hosts have claims in")
	again := good
	again.Since = good.Since.Add(time.Hour)
	c.shows(map[string]string{network: value(again)})
	want("put back", again)
	c.wantBad(network, "")
	// A new network, and one whose claims have ended, may be anything.
	c.shows(map[string]string{network: value(shifted), networkKey("new").String(): value(testNetwork("new", "10.50.0.0/16"))})
	want("still claimed", again)
	if len(c.snap.Networks) != 2 {
		t.Errorf("networks: %v", c.snap.Networks)
	}
	released, release := c.release(hostA, testTime.Add(time.Second))
	c.shows(map[string]string{block: "", released: release})
	want("the claim has ended", shifted)
	c.wantBad(network, "")
}

// Who was away while a network ended and came again, with claims of others or newer ones, takes the new one.
func TestANetworkThatCameAgainIsTaken(t *testing.T) {
	c := newCourt(t)
	c.meet(hostA, hostB)
	network, block := networkKey(testBlock.Network).String(), blockKey(testBlock).String()
	c.shows(map[string]string{network: string(mustEncode(testNetwork(testBlock.Network, "10.42.0.0/16")))})
	c.shows(map[string]string{block: c.claim(hostA, testTime)})
	released, release := c.release(hostA, testTime.Add(time.Minute))
	other := testNetwork(testBlock.Network, "10.0.0.0/8")
	for _, host := range []string{hostA, hostB} {
		facts := map[string]string{network: string(mustEncode(other)), block: c.claim(host, testTime.Add(time.Hour)),
			released: release}
		for _, h := range []string{hostA, hostB} {
			facts[hostKey(h).String()] = c.signed(t, h, hostKey(h), c.hostFact(t, h, h[:1], 1))
		}
		before := c.snap
		c.restarts(facts)
		if got := c.snap.Networks[other.Name]; got.Pool != other.Pool || c.owner() != host {
			t.Errorf("claimed by %s again: %+v, owner %s", host, got, c.owner())
		}
		c.wantBad(network, "")
		c.snap = before
	}
}
