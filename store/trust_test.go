package store

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// court is a trust under test: what etcd holds, and the Snapshot that comes of it.
type court struct {
	t testing.TB
	*server
	trust *trust
	snap  *Snapshot
}

// newCourt knows the environment's authority and no host yet. It needs no etcd.
func newCourt(t testing.TB) *court {
	t.Helper()
	id, err := FoundIdentity(testEnv, hostA, "alpha")
	if err != nil {
		t.Fatal(err)
	}
	c := &court{t: t, server: &server{founder: id, hosts: map[string]Identity{hostA: id}}, trust: &trust{}, snap: &Snapshot{}}
	c.trust.init(testEnv, func() Identity { return c.founder }, c.snap)
	return c
}

// meet makes the hosts known.
func (c *court) meet(hosts ...string) {
	for _, h := range hosts {
		c.shows(map[string]string{hostKey(h).String(): c.signed(c.t, h, hostKey(h), c.hostFact(c.t, h, h[:1], 1))})
	}
}

// shows is a batch of events: values by key, "" for a deletion.
func (c *court) shows(events map[string]string) {
	b := newBuilder(c.snap)
	for key, value := range events {
		if value == "" {
			c.trust.stage(b, key, nil)
		} else {
			c.trust.stage(b, key, []byte(value))
		}
	}
	c.trust.settle(b, c.snap)
	next := b.next
	c.snap = &next
}

// restarts begins anew with what was on disk.
func (c *court) restarts(events map[string]string) {
	c.trust = &trust{}
	c.trust.init(testEnv, func() Identity { return c.founder }, c.snap)
	b := newBuilder(pinned(c.snap, c.snap.Taken))
	for key, value := range events {
		c.trust.stage(b, key, []byte(value))
	}
	c.trust.restagePins(&b.next)
	c.trust.settle(b, c.snap)
	next := b.next
	c.snap = &next
}

func (c *court) wantBad(key, reason string) {
	c.t.Helper()
	if got := c.snap.Bad[key]; !strings.Contains(got, reason) || (reason == "") != (got == "") {
		c.t.Errorf("%s: bad: %q, want a reason with %q", key, got, reason)
	}
}

// claim is a signed claim of testBlock.
func (c *court) claim(host string, since time.Time) string {
	return c.signed(c.t, host, blockKey(testBlock), Claim{V: 1, Host: host, Since: since})
}

func (c *court) owner() string { return c.snap.Blocks[testBlock].Host }

func TestForgedFactsAreIgnored(t *testing.T) {
	c := newCourt(t)
	c.meet(hostA, hostB)
	e, other := testEndpoint(hostA, 2), testEndpoint(hostA, 3)
	key, otherKey := endpointKey(e.Key()), endpointKey(other.Key())
	good := c.signed(t, hostA, key, e)
	moved := c.signed(t, hostA, otherKey, e)
	for what, value := range map[string]string{
		"unsigned":              string(mustEncode(e)),
		"signed by another":     c.signed(t, hostB, key, e),
		"for another key":       moved,
		"one character changed": strings.Replace(good, `"c2"`, `"c3"`, 1),
		"a member after it":     strings.TrimSuffix(good, "}") + `,"name":"x"}`,
		"a member before it":    `{"name":"x",` + good[1:],
		"cut short":             good[:len(good)-3] + `"}`,
		"an empty signature":    strings.TrimSuffix(string(mustEncode(e)), "}") + `,"sig":""}`,
		"white space":           " " + good,
	} {
		c.shows(map[string]string{key.String(): value})
		if c.snap.EndpointCount() != 0 || c.snap.Bad[key.String()] == "" {
			t.Errorf("%s: taken, or ignored without a reason: %q", what, c.snap.Bad)
		}
	}
	c.shows(map[string]string{key.String(): good})
	if c.snap.EndpointCount() != 1 || len(c.snap.Bad) != 0 {
		t.Fatalf("the good one: %v", c.snap.Bad)
	}
	c.shows(map[string]string{key.String(): c.signed(t, hostB, key, e)})
	c.wantBad(key.String(), "signature")
	if c.snap.EndpointCount() != 1 {
		t.Error("a forged value took a good one away")
	}
	c.shows(map[string]string{key.String(): ""})
	if c.snap.EndpointCount() != 0 || len(c.snap.Bad) != 0 {
		t.Errorf("deleted: %v", c.snap.Bad)
	}
}

func TestFactsOfAnotherEnvironmentAreIgnored(t *testing.T) {
	c := newCourt(t)
	c.meet(hostA)
	e := testEndpoint(hostA, 2)
	key := endpointKey(e.Key()).String()
	_, signer, err := keyPair(c.founder.Cert, c.founder.Key)
	if err != nil {
		t.Fatal(err)
	}
	c.shows(map[string]string{key: string(seal(signerOf(signer), "production", key, mustEncode(e)))})
	c.wantBad(key, "signature")
}

func TestFactsWaitForTheirAuthor(t *testing.T) {
	c := newCourt(t)
	e := testEndpoint(hostB, 2)
	key := endpointKey(e.Key()).String()
	c.shows(map[string]string{key: c.signed(t, hostB, endpointKey(e.Key()), e), blockKey(testBlock).String(): c.claim(hostB, testTime)})
	c.wantBad(key, "no good fact of host "+hostB)
	c.meet(hostB)
	if c.snap.EndpointCount() != 1 || c.owner() != hostB || len(c.snap.Bad) != 0 {
		t.Errorf("not taken when the host became known: %v", c.snap.Bad)
	}
}

func TestHostFactsMustBeNewer(t *testing.T) {
	c := newCourt(t)
	key := hostKey(hostB)
	fact := func(name string, seq uint64) string { return c.signed(t, hostB, key, c.hostFact(t, hostB, name, seq)) }
	first, second := fact("one", 1), fact("two", 2)
	c.shows(map[string]string{key.String(): first})
	c.shows(map[string]string{key.String(): second})
	for _, old := range []string{first, fact("other", 2)} {
		c.shows(map[string]string{key.String(): old})
		if c.wantBad(key.String(), "not newer"); c.snap.Hosts[hostB].Name != "two" {
			t.Errorf("an old fact was taken: %v", c.snap.Hosts[hostB])
		}
	}
	c.shows(map[string]string{key.String(): ""})
	c.shows(map[string]string{key.String(): first})
	if c.wantBad(key.String(), "not newer"); len(c.snap.Hosts) != 0 {
		t.Error("an old fact was taken after the deletion of the newer one")
	}
	c.shows(map[string]string{key.String(): second})
	c.restarts(map[string]string{key.String(): first})
	c.wantBad(key.String(), "not newer")
	c.shows(map[string]string{key.String(): fact("three", 3)})
	if c.wantBad(key.String(), ""); c.snap.Hosts[hostB].Name != "three" {
		t.Error("a newer fact was refused")
	}
}

func TestHostCertificates(t *testing.T) {
	c := newCourt(t)
	now := time.Now()
	key := hostKey(hostB)
	good := c.signed(t, hostB, key, c.hostFact(t, hostB, "beta", 1))
	stranger := newCourt(t) // another authority of the same name
	foreign := c.hostFact(t, hostB, "beta", 1)
	foreign.Cert = stranger.hostFact(t, hostB, "beta", 1).Cert
	borrowed := c.hostFact(t, hostB, "beta", 1)
	borrowed.Cert = c.hostFact(t, hostA, "alpha", 1).Cert
	bare := c.hostFact(t, hostB, "beta", 1)
	bare.Cert = nil
	for reason, value := range map[string]string{
		"unknown authority": stranger.signed(t, hostB, key, foreign),
		"another host":      c.signed(t, hostA, key, borrowed),
		"no certificate":    c.signed(t, hostB, key, bare),
		"not signed":        string(mustEncode(c.hostFact(t, hostB, "beta", 1))),
	} {
		c.shows(map[string]string{key.String(): value})
		if c.wantBad(key.String(), reason); len(c.snap.Hosts) != 0 {
			t.Errorf("%s: taken", reason)
		}
	}
	c.trust.now = func() time.Time { return now.Add(2 * time.Hour) }
	c.shows(map[string]string{key.String(): good})
	c.wantBad(key.String(), "expired")
	c.trust.now = func() time.Time { return now }
	c.shows(map[string]string{key.String(): good})
	c.wantBad(key.String(), "")
	// Seen once it stays good, also over a restart.
	c.trust.now = func() time.Time { return now.Add(2 * time.Hour) }
	next := c.signed(t, hostB, key, c.hostFact(t, hostB, "beta2", 2))
	c.shows(map[string]string{key.String(): next})
	c.restarts(map[string]string{key.String(): next})
	c.trust.now = func() time.Time { return now.Add(3 * time.Hour) }
	c.shows(map[string]string{key.String(): c.signed(t, hostB, key, c.hostFact(t, hostB, "beta3", 3))})
	if c.wantBad(key.String(), ""); c.snap.Hosts[hostB].Name != "beta3" {
		t.Error("a host that is known was dropped because its certificate ended")
	}
}

// Whatever the clock steps by, who is known stays, also over a restart. One that is behind shuts nobody out who is new, either.
func TestClockSteps(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, step := range []time.Duration{time.Hour, -time.Hour, year, -year, -100 * year} {
		t.Run(step.String(), func(t *testing.T) {
			c := newCourt(t)
			alpha, beta := hostKey(hostA).String(), hostKey(hostB).String()
			facts := map[string]string{alpha: c.signed(t, hostA, hostKey(hostA), c.hostFact(t, hostA, "alpha", 1))}
			c.shows(facts)
			c.trust.now = func() time.Time { return time.Now().Add(step) }
			if step < 0 {
				facts[beta] = c.signed(t, hostB, hostKey(hostB), c.hostFact(t, hostB, "beta", 1))
				c.shows(facts)
				if c.wantBad(beta, ""); c.snap.Hosts[hostB].Name != "beta" {
					t.Error("a new host is not taken")
				}
			}
			c.restarts(facts)
			c.trust.now = func() time.Time { return time.Now().Add(step) }
			facts[alpha] = c.signed(t, hostA, hostKey(hostA), c.hostFact(t, hostA, "alpha2", 2))
			c.shows(facts)
			if c.wantBad(alpha, ""); c.snap.Hosts[hostA].Name != "alpha2" {
				t.Error("a known host is not taken any more")
			}
		})
	}
}

// What a host signs, another must be able to check although it does not know all the fields.
func TestFieldsOfLaterVersionsAreSigned(t *testing.T) {
	c := newCourt(t)
	c.meet(hostA)
	e := testEndpoint(hostA, 2)
	e.Extra = map[string]json.RawMessage{"future": json.RawMessage(`[1]`)}
	key := endpointKey(e.Key())
	c.shows(map[string]string{key.String(): c.signed(t, hostA, key, e)})
	if got, ok := c.snap.Endpoint(e.Key()); !ok || !maps.EqualFunc(got.Extra, e.Extra, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
		t.Errorf("got %v, bad: %v", got.Extra, c.snap.Bad)
	}
}

// By a clock that is far behind, the environment's own etcd is still who its certificate says.
func TestEtcdByAClockThatIsBehind(t *testing.T) {
	id, err := FoundIdentity(testEnv, hostA, "alpha")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { // it begins in the year 2000
		config, err := id.ClientTLS()
		if err != nil {
			t.Fatal(err)
		}
		for _, pem := range [][]byte{id.Cert, id.CA} {
			cert, err := parseCert(pem)
			if err != nil {
				t.Fatal(err)
			}
			if at := config.Time(); !time.Now().Before(cert.NotBefore) || at.Before(cert.NotBefore) || at.After(cert.NotAfter) {
				t.Errorf("%s is taken for %s with a certificate that begins at %s", time.Now(), at, cert.NotBefore)
			}
		}
	})
}
