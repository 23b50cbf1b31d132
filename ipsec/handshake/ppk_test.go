package handshake

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var (
	none   Secret
	former = Secret{Bytes: [32]byte{1}}
	latter = Secret{Bytes: [32]byte{2}}
)

// sharing makes two hosts that know each other and have the PPKs.
func sharing(t *testing.T, s func() suite, ofA, ofB []Secret) (w *world, a, b *host) {
	w = newWorld(t, 1, s, "a", "b")
	a, b = w.hosts[0], w.hosts[1]
	a.ppks, b.ppks = ofA, ofB
	a.boot()
	b.boot()
	a.know(b)
	b.know(a)
	return w, a, b
}

// Two hosts meet if a PPK of one is one of the other's, and none counts as one; else both say why.
func TestPPK(t *testing.T) {
	for _, c := range []struct {
		a, b        []Secret
		saysA, says string // "": they meet
	}{
		{nil, nil, "", ""},
		{nil, []Secret{none}, "", ""},
		{[]Secret{latter}, []Secret{latter}, "", ""},
		{[]Secret{latter, former}, []Secret{former}, "", ""},
		{[]Secret{former}, []Secret{latter, former}, "", ""},
		{[]Secret{latter, former}, []Secret{former, latter}, "", ""},
		{[]Secret{latter, none}, nil, "", ""},                      // it is being introduced
		{[]Secret{latter, none}, []Secret{latter}, "", ""},         // … and this host is through
		{[]Secret{none, latter}, []Secret{latter}, "", ""},         // it is being given up
		{[]Secret{none, latter}, []Secret{latter, former}, "", ""}, //
		{[]Secret{latter}, []Secret{former}, "none of its", "none of its"},
		{[]Secret{latter}, []Secret{former, none}, "none of its", "none of its"},
		{[]Secret{latter}, nil, "it has no PPK, this host has one", "it has a PPK, this host has none"},
	} {
		w, a, b := sharing(t, cheapSuite, c.a, c.b)
		if c.says == "" {
			meet(t, a, b)
			continue
		}
		w.run(5 * time.Minute)
		if a.sas["b"].Out != nil || b.sas["a"].Out != nil || a.packets+b.packets != 0 || a.m.Drops()["ppk"] == 0 {
			t.Errorf("something passes; drops %v", a.m.Drops())
		}
		for _, says := range []struct {
			s    PeerStatus
			want string
		}{{a.status(b), c.saysA}, {b.status(a), c.says}} {
			if says.s.State == StateUp || !strings.Contains(says.s.Reason, "ppk differs: "+says.want) {
				t.Errorf("%+v, want %q", says.s, says.want)
			}
		}
		a.ppks = c.b
		a.boot()
		meet(t, a, b)
	}
}

// A running environment changes its PPK, or gets its first one, or gives it up, host by host, and no pair of hosts is ever unable to meet.
func TestPPKIsReplacedHostByHost(t *testing.T) {
	for _, c := range [][2]Secret{{former, latter}, {none, latter}, {former, none}} {
		old, fresh := c[0], c[1]
		w, a, b := sharing(t, cheapSuite, []Secret{old}, []Secret{old})
		meet(t, a, b)
		for _, step := range [][]Secret{{fresh, old}, {fresh}} {
			for _, h := range w.hosts {
				h.ppks = step
				h.boot()
				meet(t, a, b)
				w.run(2 * time.Minute)
				if !settled(a, b) {
					t.Errorf("%v", a.status(b))
				}
			}
		}
	}
}

// A host that was restarted with another PPK keeps no tunnel: its peer goes on for nothing, and says so.
func TestPPKChangesAtOneHost(t *testing.T) {
	w, a, b := sharing(t, cheapSuite, []Secret{former}, []Secret{former})
	meet(t, a, b)
	w.run(time.Minute)
	b.ppks = []Secret{latter}
	b.boot()
	watch(a, b) // finds out that nothing comes back
	w.run(3 * time.Minute)
	if s := a.status(b); !strings.Contains(s.Reason, "ppk differs") {
		t.Errorf("%+v", s)
	}
	if s := b.status(a); s.State == StateUp || !strings.Contains(s.Reason, "ppk differs") {
		t.Errorf("%+v", s)
	}
}

// The PPK goes into the keys: hosts that are equal in everything else, down to each random byte, get others.
func TestPPKIsInEveryKey(t *testing.T) {
	keys := map[[36]byte]string{}
	for _, ppk := range []Secret{none, former, latter} {
		_, a, b := sharing(t, fixedSuite, []Secret{ppk}, []Secret{ppk})
		meet(t, a, b)
		for _, h := range []*host{a, b} {
			for _, set := range h.sas {
				for _, sa := range set.In {
					if other, ok := keys[sa.Key.Bytes]; ok {
						t.Errorf("a key with ppk %d was there before, %s", ppk.Bytes[0], other)
					}
					keys[sa.Key.Bytes] = fmt.Sprintf("with ppk %d, at %s", ppk.Bytes[0], h.id)
				}
			}
		}
	}
	if len(keys) < 6 {
		t.Errorf("%d keys", len(keys))
	}
}

// Nothing on the wire tells whether two hosts have equal PPKs, or a host the same as before: the names are new in each init,
// and strangers get the same silence whatever they try.
func TestPPKIsNoOracle(t *testing.T) {
	_, a, b := sharing(t, standardSuite, []Secret{former}, []Secret{former})
	p, names := a.m.peers["b"], map[ppkID]bool{}
	for range 3 {
		init, body, err := a.m.newInit(0, p, b.addr)
		if err != nil {
			t.Fatal(err)
		}
		hs, err := b.m.newNoise(false, nil)
		if err != nil {
			t.Fatal(err)
		}
		payload, _, _, err := hs.ReadMessage(nil, body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseInit(payload)
		if err != nil || len(got.ppks) != 1 {
			t.Fatal(err, got.ppks)
		}
		if bytes.Contains(body, got.ppks[0][:]) {
			t.Error("the name is readable")
		}
		names[got.ppks[0]] = true
		a.m.releaseSPI(init.spi)
	}
	if len(names) != 3 {
		t.Errorf("%d names in three inits", len(names))
	}
	// A host that is no peer, with the right PPK and with a wrong one: unknown both times, before any PPK is looked at.
	for _, ppk := range []Secret{former, latter} {
		w := newWorld(t, 5, standardSuite, "b", "stranger")
		b, s := w.hosts[0], w.hosts[1]
		b.ppks, s.ppks = []Secret{former}, []Secret{ppk}
		b.boot()
		s.boot()
		answers := 0
		s.know(b)
		w.tap = func(from, _ netip.AddrPort, _ []byte) {
			if from == b.addr {
				answers++
			}
		}
		w.run(time.Minute)
		if answers != 0 || b.m.Drops()["unknown-key"] == 0 || b.m.Drops()["ppk"] != 0 {
			t.Errorf("%d answers, %v", answers, b.m.Drops())
		}
	}
}

// Lists of names that don't fit are refused; none at all is a host without.
func TestPPKNamesAreParsed(t *testing.T) {
	for _, c := range []struct {
		b    []byte
		n    int
		good bool
	}{
		{nil, 0, true}, {[]byte{0}, 0, true}, {make([]byte, 100), 0, true}, {[]byte{1}, 0, false},
		{append([]byte{1}, make([]byte, 8)...), 1, true}, {append([]byte{2}, make([]byte, 15)...), 0, false},
		{append([]byte{4}, make([]byte, 40)...), 4, true}, {append([]byte{5}, make([]byte, 40)...), 0, false},
	} {
		if ids, ok := cutPPKs(c.b); ok != c.good || len(ids) != c.n {
			t.Errorf("%v: %d, %v", c.b, len(ids), ok)
		}
	}
}
