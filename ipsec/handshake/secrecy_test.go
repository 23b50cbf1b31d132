package handshake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/ipsec"
)

// Everything that a caller can get hold of is printed in every way, and none of it may hold a byte of a key.
func TestNothingPrintsAKey(t *testing.T) {
	_, a, b := newPairWorld(t, 1)
	a.ppks = []Secret{{Bytes: [32]byte(bytes.Repeat([]byte{0xa5}, 32))}}
	b.ppks = a.ppks
	copy(a.secret.Bytes[:], bytes.Repeat([]byte{0xa5}, 32))
	a.boot()
	b.boot()
	b.facts = []Peer{a.fact()}
	b.setPeers()
	meet(t, a, b)
	for _, q := range a.m.peers["b"].pairs { // keys that are easy to find
		copy(q.in.Key.Bytes[:], bytes.Repeat([]byte{0xa5}, 36))
		copy(q.out.Key.Bytes[:], bytes.Repeat([]byte{0xa5}, 36))
	}
	log := logrus.New()
	var out bytes.Buffer
	log.SetOutput(&out)
	loop := NewLoop(a.m, nil, nil, logrus.NewEntry(log))
	id := Identity{HostID: "a", Environment: "e", Private: a.secret, PPKs: a.ppks}
	values := []any{
		a.m, *a.m, loop, id, &id, id.Private, id.PPKs, a.m.Status(), loop.Status(), a.m.SAs(), loop.SAs(), a.m.Drops(),
		a.fact(), Options{}, Send{}, SAsChanged{"b"}, Probe{"b"}, NeedSnapshot{},
		[]Output{SAsChanged{"b"}}, map[string]any{"identity": id, "sas": a.m.SAs()},
	}
	for _, format := range []logrus.Formatter{&logrus.TextFormatter{}, &logrus.JSONFormatter{}} {
		for _, v := range values {
			line, err := format.Format(&logrus.Entry{Data: map[string]any{"value": v}})
			fmt.Fprintln(&out, string(line), err)
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o"} {
				fmt.Fprintf(&out, verb+"\n", v)
			}
			if j, err := json.Marshal(v); err == nil {
				out.Write(j)
			}
		}
	}
	for _, secret := range []string{"a5a5", "A5A5", "165 165", "165,165", "0xa5, 0xa5", "245 245", "\xa5\xa5", "paWlpaWl", `\xa5\xa5`} {
		if i := strings.Index(out.String(), secret); i >= 0 {
			t.Errorf("a key was printed: …%q…", out.String()[max(0, i-300):i+20])
		}
	}
	if _, err := id.Private.GobEncode(); err == nil {
		t.Error("a secret is encoded")
	}
}

// Whatever ends an SA also erases its key.
func TestKeysOfDroppedSAsAreErased(t *testing.T) {
	w, a, b := newPairWorld(t, 1)
	meet(t, a, b)
	w.run(time.Minute)
	erased := func(what string, key *ipsec.Key) {
		t.Helper()
		if *key != (ipsec.Key{}) {
			t.Errorf("%s: the key is still there", what)
		}
	}
	old := a.m.peers["b"].out
	b.boot()
	meet(t, a, b)
	erased("outbound SA, once another is used", &old.out.Key)
	if old.in.Key == (ipsec.Key{}) {
		t.Error("the inbound SA has no grace")
	}
	w.run(time.Minute)
	erased("inbound SA, after its grace", &old.in.Key)

	p := b.m.peers["a"]
	old = p.out
	b.limit("a", &old.in)
	erased("inbound SA at its limit", &old.in.Key)
	b.limit("a", &old.out)
	erased("outbound SA at its limit", &old.out.Key)

	meet(t, a, b)
	for _, change := range []func(fact *Peer){
		func(fact *Peer) { fact.HostID = "c" },
		func(fact *Peer) { fact.Public[5]++ },
	} {
		meet(t, a, b)
		old = a.m.peers["b"].out
		fact := b.fact()
		change(&fact)
		a.facts = []Peer{fact}
		a.disown()
		a.setPeers()
		erased("outbound SA of a removed peer", &old.out.Key)
		erased("inbound SA of a removed peer", &old.in.Key)
		if len(a.sas["b"].In) != 0 || len(a.m.spis) > 1 {
			t.Error("the peer's SAs stay")
		}
		a.facts = []Peer{b.fact()}
		a.setPeers()
	}

	w.block = func(_, _ *host, _ bool) bool { return true }
	a.boot()
	init := a.m.peers["b"].init
	private := init.noise.LocalEphemeral().Private
	w.run(20 * time.Second)
	if !bytes.Equal(private, make([]byte, 32)) || init.noise != nil || init.decapsulate != nil {
		t.Error("an ephemeral key outlives its init")
	}
}
