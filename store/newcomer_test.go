package store

import (
	"context"
	"errors"
	"testing"
)

// joined is the identity of a host with a token of what another one trusts.
func joined(t testing.TB, trusted CA) (Token, Identity) {
	t.Helper()
	made, err := trusted.NewToken(nil, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	token, err := ParseToken(made.Encode())
	if err != nil || !token.CASince.Equal(trusted.Since) {
		t.Fatalf("the token says %s of %s: %v", token.CASince, trusted.Since, err)
	}
	id, err := JoinIdentity(token, "")
	if err != nil {
		t.Fatal(err)
	}
	return token, identityFromValue(identityToValue(id)) // as after a restart
}

func TestANewcomerBelievesNoOlderWordThanItsToken(t *testing.T) {
	c := newSuccession(t)
	founding := string(mustEncode(authority{V: 1, Cert: c.snap.CA}))
	during := succeed(t, c.founder)
	after := during.retired(t)
	unsigned := string(mustEncode(authority{V: 1, Cert: after.a.Cert}))
	third := succeed(t, after.id)
	_, newcomer := joined(t, after.id.Trusted())
	c.founder, c.snap = newcomer, &Snapshot{}
	expect := func(what, value string, believed int, bad bool) {
		t.Helper()
		c.shows(map[string]string{kindCA: value})
		list, err := parseCerts(c.founder.CA)
		if err != nil || len(list) != believed || (c.snap.Bad[kindCA] != "") != bad {
			t.Errorf("%s: %d believed, %q", what, len(list), c.snap.Bad[kindCA])
		}
	}
	expect("the first authority", founding, 1, true)
	expect("the overlap", during.value, 1, true)
	expect("unsigned", unsigned, 1, true)
	if c.snap.CA != nil || !isAuthority(errOlder) {
		t.Error("an older word counts")
	}
	expect("the present word", after.value, 1, false)
	expect("the overlap, later", during.value, 1, true)
	c.founder, c.snap = newcomer, &Snapshot{}
	expect("the next authority", third.value, 2, false)

	// A token that was made meanwhile takes nothing back, and one from before the replacement is not held against anybody.
	_, early := joined(t, during.id.Trusted())
	if again := early.After(newcomer); !again.CASince.Equal(after.a.Since) {
		t.Errorf("an older token: %s", again.CASince)
	}
	if again := newcomer.After(early); !again.CASince.Equal(after.a.Since) {
		t.Errorf("a newer token: %s", again.CASince)
	}
	if !newcomer.Trusted().Since.Equal(after.a.Since) || !third.id.Trusted().Since.Equal(third.a.Since) {
		t.Error("its own tokens say less")
	}
	c.founder, c.snap = early, &Snapshot{}
	expect("the overlap, by a token of then", during.value, 2, false)
	expect("its end", after.value, 1, false)
}

func TestTokensOfTheFirstAuthorityAskForNothing(t *testing.T) {
	c := newSuccession(t)
	token, id := joined(t, c.founder.Trusted())
	if !token.CASince.IsZero() || !id.CASince.IsZero() {
		t.Error("a time of the first authority's word")
	}
	next := succeed(t, c.founder)
	c.founder, c.snap = id, &Snapshot{}
	c.shows(map[string]string{kindCA: string(mustEncode(authority{V: 1, Cert: mustDER(t, id.CA)}))})
	if c.snap.Bad[kindCA] != "" || c.snap.CA == nil {
		t.Error(c.snap.Bad)
	}
	c.shows(map[string]string{kindCA: next.value})
	if c.snap.Bad[kindCA] != "" || string(c.founder.CAFact) != next.value {
		t.Error(c.snap.Bad)
	}
}

func mustDER(t testing.TB, pem []byte) []byte {
	t.Helper()
	der, err := CertDER(pem)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestTheGateKnowsWhichWordIsOlder(t *testing.T) {
	c := newSuccession(t)
	during := succeed(t, c.founder)
	after := during.retired(t)
	third := succeed(t, after.id)
	g := newGate(hostA)
	for what, is := range map[string]struct {
		trusted CA
		value   string
		want    bool
	}{
		"the overlap begins":          {c.founder.Trusted(), during.value, true},
		"the overlap":                 {during.id.Trusted(), during.value, true},
		"the overlap ends":            {during.id.Trusted(), after.value, true},
		"the overlap comes back":      {after.id.Trusted(), during.value, false},
		"the end again":               {after.id.Trusted(), after.value, true},
		"the next one":                {after.id.Trusted(), third.value, true},
		"the first one comes back":    {after.id.Trusted(), string(mustEncode(authority{V: 1, Cert: c.snap.CA})), false},
		"an unsigned word of a later": {after.id.Trusted(), string(mustEncode(authority{V: 1, Cert: after.a.Cert})), false},
	} {
		g.stands(is.trusted, nil)
		if got := g.mayWrite(context.Background(), hostB, []byte(Prefix(testEnv)+kindCA), []byte(is.value), nil); got != is.want {
			t.Errorf("%s: %t", what, got)
		}
	}
}

// A host that has the key and a token, but has not heard the word of which the token tells, has nothing to put back.
func TestWhoKnowsOnlyOfAWordDoesNotReplaceAnOlderOne(t *testing.T) {
	s := embeddedServer(t)
	during := succeed(t, s.founder)
	after := during.retired(t)
	_, id := joined(t, after.id.Trusted())
	id.CAKey = after.ca.Key
	a := s.join(t, hostA)
	full := a.key(factKey{kind: kindCA})
	if _, err := s.client(t).Put(callCtx(t), full, during.value); err != nil {
		t.Fatal(err)
	}
	if _, err := judge(id).openCA([]byte(during.value)); !errors.Is(err, errOlder) {
		t.Fatal(err)
	}
	if err := a.restoreAuthority(callCtx(t), id); err != nil {
		t.Error(err)
	}
	r, err := s.client(t).Get(callCtx(t), full)
	if err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != during.value {
		t.Errorf("it was replaced: %v", err)
	}
}
