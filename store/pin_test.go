package store

import (
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"
)

func signerOf(key any) ed25519.PrivateKey { return key.(ed25519.PrivateKey) }

// release is a signed release of testBlock.
func (c *court) release(host string, since time.Time) (key, value string) {
	k := releasedKey(host, blockKey(testBlock).String())
	return k.String(), c.signed(c.t, host, k, Release{V: 1, Host: host, Since: since})
}

// revocation is that of a host by the environment's authority.
func (c *court) revocation(host string) (key, value string) {
	c.t.Helper()
	_, signer, err := keyPair(c.founder.CA, c.founder.CAKey)
	if err != nil {
		c.t.Fatal(err)
	}
	key = revokedKey(host).String()
	return key, string(seal(signerOf(signer), testEnv, key, mustEncode(Revocation{V: 1, Host: host, Since: testTime})))
}

func TestAClaimChangesHandsOnlyByItsOwner(t *testing.T) {
	c := newCourt(t)
	c.meet(hostA, hostB)
	block := blockKey(testBlock).String()
	c.shows(map[string]string{block: c.claim(hostA, testTime)})
	steal := c.claim(hostB, testTime.Add(time.Hour))
	for what, do := range map[string]func(){
		"overwritten":                func() { c.shows(map[string]string{block: steal}) },
		"deleted, then claimed":      func() { c.shows(map[string]string{block: ""}); c.shows(map[string]string{block: steal}) },
		"seen after a restart":       func() { c.restarts(map[string]string{block: steal}) },
		"with the thief's release":   func() { k, v := c.release(hostB, testTime); c.shows(map[string]string{k: v, block: steal}) },
		"with a release of long ago": func() { k, v := c.release(hostA, testTime.Add(-1)); c.shows(map[string]string{k: v, block: steal}) },
		"with a forged release": func() {
			k, _ := c.release(hostA, testTime)
			_, v := c.release(hostB, testTime)
			c.shows(map[string]string{k: v, block: steal})
		},
		"with a forged revocation": func() {
			k, _ := c.revocation(hostA)
			_, v := c.release(hostB, testTime)
			c.shows(map[string]string{k: v, block: steal})
		},
	} {
		do()
		if c.owner() != hostA {
			t.Fatalf("%s: the claim went to %q", what, c.owner())
		}
		c.wantBad(block, "has not released it")
		c.meet(hostA, hostB)
	}
	key, value := c.release(hostA, testTime)
	c.shows(map[string]string{key: value})
	if c.owner() != hostB {
		t.Fatalf("released by its owner, but the claim is %q's: %v", c.owner(), c.snap.Bad)
	}
	c.shows(map[string]string{block: c.claim(hostA, testTime)}) // played back
	if c.owner() != hostB {
		t.Error("a claim that was released came back")
	}
	c.wantBad(block, "has released it")
	bKey, bValue := c.release(hostB, testTime.Add(time.Hour))
	c.shows(map[string]string{bKey: bValue, block: ""})
	c.shows(map[string]string{block: c.claim(hostA, testTime.Add(2*time.Hour))})
	if c.owner() != hostA || c.snap.Bad[block] != "" {
		t.Errorf("a younger claim of a host that had released it: %q, %v", c.owner(), c.snap.Bad)
	}
}

// A host that was away finds the releases in etcd, whatever happened meanwhile.
func TestAPinEndsWithAReleaseThatWasMissed(t *testing.T) {
	c := newCourt(t)
	c.meet(hostA, hostB)
	block := blockKey(testBlock).String()
	c.shows(map[string]string{block: c.claim(hostA, testTime)})
	key, value := c.release(hostA, testTime.Add(time.Second))
	facts := map[string]string{key: value, block: c.claim(hostB, testTime.Add(time.Minute))}
	for _, h := range []string{hostA, hostB} {
		facts[hostKey(h).String()] = c.signed(t, h, hostKey(h), c.hostFact(t, h, h[:1], 1))
	}
	c.restarts(facts)
	if c.owner() != hostB {
		t.Errorf("the claim is %q's: %v", c.owner(), c.snap.Bad)
	}
	delete(facts, block)
	c.restarts(facts)
	if c.owner() != hostB {
		t.Errorf("lost by etcd, so the claim is %q's", c.owner())
	}
	c.snap.Taken = testTime
	if next := pinned(c.snap, testTime.Add(pinLife)); len(next.Blocks) != 0 {
		t.Error("a pin outlives the releases")
	}
}

func TestARemovedHostIsGoneForGood(t *testing.T) {
	c := newCourt(t)
	c.meet(hostA, hostB)
	block := blockKey(testBlock).String()
	e := testEndpoint(hostB, 2)
	endpoint := endpointKey(e.Key()).String()
	signedEndpoint := c.signed(t, hostB, endpointKey(e.Key()), e)
	c.shows(map[string]string{block: c.claim(hostB, testTime), endpoint: signedEndpoint, aliveKey(hostB).String(): `{"v":1}`})
	key, value := c.revocation(hostB)
	c.shows(map[string]string{key: value})
	gone := func(when string) {
		t.Helper()
		if _, there := c.snap.Hosts[hostB]; there || c.snap.EndpointCount() != 0 || c.snap.Alive[hostB] {
			t.Errorf("%s: something is left: %+v", when, c.snap)
		}
	}
	gone("removed")
	if c.owner() != hostB {
		t.Error("its block is free at once, while its containers may still run")
	}
	c.shows(map[string]string{key: ""}) // etcd forgets it
	facts := map[string]string{hostKey(hostB).String(): c.signed(t, hostB, hostKey(hostB), c.hostFact(t, hostB, "again", 9)), endpoint: signedEndpoint,
		aliveKey(hostB).String(): `{"v":1}`, staticKey(AddrKey{"default", e.Addr}).String(): c.signed(t, hostB, staticKey(AddrKey{"default", e.Addr}), Claim{V: 1, Host: hostB})}
	c.shows(facts)
	gone("came back")
	if len(c.snap.Statics) != 0 {
		t.Error("it got a new claim")
	}
	facts[block] = c.claim(hostB, testTime)
	c.restarts(facts)
	gone("seen after a restart")
	c.wantBad(hostKey(hostB).String(), "removed")
	c.shows(map[string]string{block: ""})
	if c.owner() != "" {
		t.Error("its block is not free after the deletion")
	}
	c.shows(map[string]string{block: c.claim(hostA, testTime)})
	if c.owner() != hostA {
		t.Errorf("its block can't be claimed: %v", c.snap.Bad)
	}
}

// What the first list of a large environment costs: 65,000 signatures, once, by all processors.
func BenchmarkFirstList(b *testing.B) {
	c := newCourt(b)
	c.meet(hostA)
	const many = 65000
	facts := make(map[string]string, many)
	_, signer, err := keyPair(c.founder.Cert, c.founder.Key)
	if err != nil {
		b.Fatal(err)
	}
	for n := range many {
		e := testEndpoint(hostA, n)
		e.Network = fmt.Sprint("n", n/250)
		key := endpointKey(e.Key()).String()
		facts[key] = string(seal(signerOf(signer), testEnv, key, mustEncode(e)))
	}
	known := c.snap
	b.Run("signatures", func(b *testing.B) {
		for b.Loop() {
			c.snap = known
			c.shows(facts)
		}
	})
	if c.snap.EndpointCount() == 0 {
		b.Fatal(c.snap.Bad)
	}
	b.Run("known from disk", func(b *testing.B) {
		for b.Loop() {
			c.restarts(facts)
		}
	})
}
