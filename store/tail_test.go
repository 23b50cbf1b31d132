package store

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"
	"time"
)

// changing is a Snapshot that goes on changing, and is kept.
type changing struct {
	rand *rand.Rand
	cp   *Checkpoint
	keep *keeper
	now  *Snapshot
}

func newChanging(t *testing.T, seed uint64) *changing {
	t.Helper()
	cp, _ := tempCheckpoint(t)
	c := &changing{rand: rand.New(rand.NewPCG(seed, 0)), cp: cp, now: &Snapshot{Revision: 1, ClusterID: 7}}
	c.keep = &keeper{cp: cp, environment: testEnv, kept: &Snapshot{}, tail: tail{path: cp.tailPath()}}
	c.step()
	if err := c.keep.write(c.now); err != nil {
		t.Fatal(err)
	}
	return c
}

// step is the next Snapshot, with some facts more, others or less.
func (c *changing) step() {
	b := newBuilder(c.now)
	for range 1 + c.rand.IntN(4) {
		n := c.rand.IntN(4)
		host := []string{hostA, hostB}[c.rand.IntN(2)]
		endpoint := testEndpoint(host, n)
		endpoint.Name = fmt.Sprint(c.rand.IntN(2))
		key, fact := factKey{}, any(nil)
		switch c.rand.IntN(8) {
		case 0:
			key, fact = hostKey(host), Host{V: 1, ID: host, Name: fmt.Sprint(n)}
		case 1:
			key, fact = networkKey("default"), testNetwork("default", fmt.Sprintf("10.%d.0.0/16", n))
		case 2:
			k := BlockKey{"default", netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, byte(n), 0}), 26)}
			key, fact = blockKey(k), Claim{V: 1, Host: host}
		case 3:
			key, fact = staticKey(AddrKey{"default", netip.AddrFrom4([4]byte{10, 42, 0, byte(9 + n)})}), Claim{V: 1, Host: host}
		case 4:
			key, fact = routerKey(netip.AddrFrom4([4]byte{100, 127, 0, byte(n)})), Claim{V: 1, Host: host}
		case 5, 6:
			key, fact = endpointKey(endpoint.Key()), endpoint
		case 7:
			key, fact = factKey{kind: kindMembers}, memberList{Version, []Member{{Host: host, Learner: n == 1}}}
		}
		if c.rand.IntN(3) == 0 {
			b.drop(key)
		} else {
			b.take(key, fact)
		}
	}
	b.next.Revision++
	b.next.Taken = time.Unix(b.next.Revision, 0).UTC()
	c.now = &b.next
}

// loaded is what a start finds.
func (c *changing) loaded(t *testing.T) *Snapshot {
	t.Helper()
	snap, err := c.cp.loadSnapshot(testEnv)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// sameFacts compares what is kept.
func sameFacts(a, b *Snapshot) bool {
	same := a.Revision == b.Revision && a.ClusterID == b.ClusterID && a.Taken.Equal(b.Taken)
	a.since(b, func(factKey, any) { same = false })
	return same
}

func TestWhatIsKeptIsTheLastSnapshot(t *testing.T) {
	for seed := range uint64(10) {
		c := newChanging(t, seed)
		for n := range 60 {
			c.step()
			if err := c.keep.note(c.now); err != nil {
				t.Fatal(err)
			}
			switch c.rand.IntN(12) {
			case 0:
				if err := c.keep.write(c.now); err != nil {
					t.Fatal(err)
				}
			case 1: // killed after the whole was written, and before the tail began anew
				if err := c.cp.saveSnapshot(testEnv, "killed", c.now); err != nil {
					t.Fatal(err)
				}
				if got := c.loaded(t); !sameFacts(got, c.now) {
					t.Fatalf("seed %d, step %d: a tail of another snapshot counts: got %+v, want %+v", seed, n, got, c.now)
				}
				if err := c.keep.write(c.now); err != nil {
					t.Fatal(err)
				}
			}
			if got := c.loaded(t); !sameFacts(got, c.now) {
				t.Fatalf("seed %d, step %d: got %+v, want %+v", seed, n, got, c.now)
			}
		}
	}
}

// TestTailCutOffOrDamagedAnywhere: what is whole counts, and the next agent goes on behind it.
func TestTailCutOffOrDamagedAnywhere(t *testing.T) {
	c := newChanging(t, 1)
	history := []*Snapshot{c.now}
	for range 6 {
		c.step()
		if err := c.keep.note(c.now); err != nil {
			t.Fatal(err)
		}
		history = append(history, c.now)
	}
	c.keep.tail.end()
	whole, err := os.ReadFile(c.cp.tailPath())
	if err != nil {
		t.Fatal(err)
	}
	after := &changing{rand: c.rand, now: c.now}
	after.step()
	last := 0
	for n := range 2 * len(whole) {
		text := append([]byte(nil), whole[:n/2]...)
		if n%2 == 1 {
			text = append([]byte(nil), whole...)
			text[n/2] ^= 1 << c.rand.IntN(8)
		}
		if err := os.WriteFile(c.cp.tailPath(), text, 0o600); err != nil {
			t.Fatal(err)
		}
		got, size, err := c.cp.loadWithTail(testEnv)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		at := int(got.Revision - history[0].Revision)
		if at < 0 || at >= len(history) || !sameFacts(got, history[at]) {
			t.Fatalf("%q gives %+v", text, got)
		}
		last = max(last, at)
		k := &keeper{cp: c.cp, environment: testEnv, kept: got, tail: tail{path: c.cp.tailPath(), size: size}}
		if err := k.tail.resume(); err != nil {
			t.Fatal(err)
		}
		if err := k.note(after.now); err != nil {
			t.Fatal(err)
		}
		k.tail.end()
		want := after.now
		if size == 0 { // nothing to go on from: the next whole snapshot begins a tail
			want = history[0]
		}
		if got := c.loaded(t); !sameFacts(got, want) {
			t.Fatalf("%q, gone on from: %+v", text, got)
		}
	}
	if last != len(history)-2 { // the last line lacks its end in all of them
		t.Errorf("at most %d of %d changes were found", last, len(history)-1)
	}
}

func TestTailOnAFullDisk(t *testing.T) {
	c := newChanging(t, 2)
	kept := c.now
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	_ = c.keep.tail.file.Close()
	c.keep.tail.file = full
	c.step()
	if err := c.keep.note(c.now); err == nil {
		t.Error("a line that did not fit is no error")
	}
	for range 3 { // and is not repeated for each change
		c.step()
		if err := c.keep.note(c.now); err != nil {
			t.Error(err)
		}
	}
	if got := c.loaded(t); !sameFacts(got, kept) {
		t.Errorf("got %+v, want %+v", got, kept)
	}
	if err := c.keep.write(c.now); err != nil {
		t.Fatal(err)
	}
	c.step()
	if err := c.keep.note(c.now); err != nil {
		t.Fatal(err)
	}
	if got := c.loaded(t); !sameFacts(got, c.now) {
		t.Errorf("when there is room again: got %+v, want %+v", got, c.now)
	}
}

// TestAKilledAgentKnowsWhatHasJustComeIn, though the whole snapshot is written every 10 s only: what it has set routes by must
// not be gone at its next start.
func TestAKilledAgentKnowsWhatHasJustComeIn(t *testing.T) {
	s := embeddedServer(t)
	a := s.join(t, hostA)
	mustCreate(t, a, testNetwork("default", "10.42.0.0/16"))
	s.put(t, hostB, blockKey(BlockKey{"default", netip.MustParsePrefix("10.42.64.0/26")}), Claim{V: 1, Host: hostB, Since: testTime})
	a.await(t, "the block", func(snap *Snapshot) bool { return len(snap.Blocks) == 1 })
	head := func() string { // of the tail
		text, _ := os.ReadFile(a.cp.tailPath())
		return string(text[:min(len(text), 50)])
	}
	deadline := time.Now().Add(patience)
	for n := 0; ; n++ {
		before := head()
		e := testEndpoint(hostB, n%64)
		e.Name = fmt.Sprint(n)
		s.put(t, hostB, endpointKey(e.Key()), e)
		a.await(t, e.Name, func(snap *Snapshot) bool { got, _ := snap.Endpoint(e.Key()); return got.Name == e.Name })
		there := func() bool {
			saved, err := a.cp.loadSnapshot(testEnv)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := saved.Endpoint(e.Key())
			return got.Name == e.Name
		}
		for !there() {
			if time.Now().After(deadline) {
				t.Fatal("not on disk")
			}
		}
		if before != "" && head() == before {
			return // by the tail, and not by a whole snapshot that came in between
		}
		if time.Now().After(deadline) {
			t.Fatal("always with the whole snapshot")
		}
	}
}
