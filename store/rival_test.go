package store

import (
	"net/netip"
	"testing"
	"time"
)

// A stolen host's key is good, so it may sign claims that no transaction would let it make: inside another host's block,
// around its address, or across its block.
func TestAnotherHostsAddressesCanNotBeClaimedPiecemeal(t *testing.T) {
	block := blockKey(testBlock)
	static := staticKey(AddrKey{"default", netip.MustParseAddr("10.42.64.2")})
	outside := staticKey(AddrKey{"default", netip.MustParseAddr("10.42.64.64")})
	part := blockKey(BlockKey{"default", netip.MustParsePrefix("10.42.64.0/29")})
	around := blockKey(BlockKey{"default", netip.MustParsePrefix("10.42.0.0/16")})
	elsewhere := blockKey(BlockKey{"other", netip.MustParsePrefix("10.42.64.0/26")})
	claim := func(c *court, host string, k factKey) map[string]string {
		return map[string]string{k.String(): c.signed(t, host, k, Claim{V: 1, Host: host, Since: testTime})}
	}
	for _, row := range []struct {
		what       string
		have, want factKey
		refused    bool
	}{
		{"an address in a block", block, static, true},
		{"a block around an address", static, block, true},
		{"a part of a block", block, part, true},
		{"a block around a block", block, around, true},
		{"an address beside a block", block, outside, false},
		{"a block of another network", block, elsewhere, false},
	} {
		c := newCourt(t)
		c.meet(hostA, hostB)
		c.shows(claim(c, hostA, row.have))
		c.shows(claim(c, hostB, row.want))
		taken := func() bool {
			got, ok := (&builder{next: *c.snap}).claim(row.want)
			return ok && got.Host == hostB
		}
		if taken() == row.refused {
			t.Errorf("%s: taken %v, bad: %v", row.what, taken(), c.snap.Bad)
		}
		if held, ok := (&builder{next: *c.snap}).claim(row.have); !ok || held.Host != hostA {
			t.Errorf("%s: the claim that was there first is gone", row.what)
		}
		if !row.refused {
			continue
		}
		c.wantBad(row.want.String(), "but host "+hostA+" has "+row.have.String())
		release := releasedKey(hostA, row.have.String())
		c.shows(map[string]string{row.have.String(): "",
			release.String(): c.signed(t, hostA, release, Release{V: 1, Host: hostA, Since: testTime.Add(time.Second)})})
		if c.wantBad(row.want.String(), ""); !taken() {
			t.Errorf("%s: not taken after the release: %v", row.what, c.snap.Bad)
		}
	}
}

// Its own claims may overlap: a host takes a block around an address that it has.
func TestOwnClaimsMayOverlap(t *testing.T) {
	c := newCourt(t)
	c.meet(hostB)
	static := staticKey(AddrKey{"default", netip.MustParseAddr("10.42.64.2")})
	c.shows(map[string]string{static.String(): c.signed(t, hostB, static, Claim{V: 1, Host: hostB, Since: testTime}),
		blockKey(testBlock).String(): c.claim(hostB, testTime)})
	if len(c.snap.Statics) != 1 || c.owner() != hostB {
		t.Errorf("bad: %v", c.snap.Bad)
	}
	key, value := c.revocation(hostB)
	c.shows(map[string]string{key: value})
	c.meet(hostA)
	c.shows(map[string]string{static.String(): "", blockKey(testBlock).String(): ""})
	c.shows(map[string]string{static.String(): c.signed(t, hostA, static, Claim{V: 1, Host: hostA, Since: testTime})})
	if len(c.snap.Statics) != 1 {
		t.Errorf("an address of a removed host can't be claimed: %v", c.snap.Bad)
	}
}
