package store

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"maps"
	"strings"
	"sync"
	"time"
)

// ownFacts is what etcd holds about this host, as far as is known: what lists and the watch have shown, overlaid with
// what this host has written since. The publisher compares it with the Checkpoint.
type ownFacts struct {
	self string
	seed maphash.Seed

	mu      sync.Mutex
	entries map[string]ownFact
	synced  bool                 // a list has been taken over: what is not in entries is not in etcd
	epoch   int                  // counts forget, so that an answer from before does not come in after it
	changed bool                 // by another's hand, since takeChanged
	pins    map[string]time.Time // claims that the Checkpoint may not have yet → since when
	// released are this host's releases by the claim's key, for a claim is good only if it is younger.
	released map[string]time.Time
}

// ownFact is one key. Its revision tells which of two accounts of it is the later one.
type ownFact struct {
	hash     uint64
	revision int64
	gone     bool      // deleted by this host; the watch has not shown it yet
	since    time.Time // of a claim
}

func (o *ownFacts) init(self string) {
	o.self, o.seed = self, maphash.MakeSeed()
	o.entries, o.pins, o.released = map[string]ownFact{}, map[string]time.Time{}, map[string]time.Time{}
}

func (o *ownFacts) hash(value []byte) uint64 { return maphash.Bytes(o.seed, value) }

// mine says whether a key is for this host to keep up.
func (o *ownFacts) mine(key string, value []byte) bool {
	if o.self == "" {
		return false
	}
	kind, rest, _ := strings.Cut(key, "/")
	switch kind {
	case kindHost:
		return rest == o.self
	case kindEndpoint:
		return strings.HasPrefix(rest, o.self+"/")
	case kindBlock, kindStatic, kindRouter:
		return claimOf(value, o.self).Host == o.self
	}
	return false
}

// claimOf reads a claim, cheaply when it can't be that of self.
func claimOf(value []byte, self string) Claim {
	var c Claim
	if !bytes.Contains(value, []byte(self)) || json.Unmarshal(value, &c) != nil {
		return Claim{}
	}
	return c
}

// since is when a claim of this host began.
func (o *ownFacts) since(key string, value []byte) time.Time {
	if k, err := parseKey(key); err != nil || !k.isClaim() {
		return time.Time{}
	}
	return claimOf(value, o.self).Since
}

// after gives a time for a new claim: t, or later if the host has released it since then.
func (o *ownFacts) after(key string, t time.Time) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	if released := o.released[key]; !t.After(released) {
		return released.Add(1)
	}
	return t
}

// noteRelease keeps a release of this host.
func (o *ownFacts) noteRelease(key string, value []byte) {
	claim, ok := strings.CutPrefix(key, kindReleased+"/"+o.self+"/")
	var r Release
	if ok && o.self != "" && json.Unmarshal(value, &r) == nil && r.Since.After(o.released[claim]) {
		o.released[claim] = r.Since
		o.changed = o.changed || !o.entries[claim].since.IsZero()
	}
}

// observe takes in what a list or the watch shows.
func (o *ownFacts) observe(key string, value []byte, revision int64) {
	mine := o.mine(key, value)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.noteRelease(key, value)
	have, known := o.entries[key]
	if known && have.revision >= revision || !known && !mine {
		return
	}
	o.changed = true
	if mine {
		o.entries[key] = ownFact{hash: o.hash(value), revision: revision, since: o.since(key, value)}
	} else {
		delete(o.entries, key) // a claim that changed hands
	}
}

func (o *ownFacts) observeGone(key string, revision int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if have, known := o.entries[key]; known && have.revision <= revision {
		o.changed = o.changed || !have.gone
		delete(o.entries, key)
	}
}

// retain ends a list: what it has not shown is not there.
func (o *ownFacts) retain(seen map[string]bool, revision int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key, have := range o.entries {
		if !seen[key] && have.revision <= revision {
			delete(o.entries, key)
			o.changed = true
		}
	}
	if !o.synced {
		for key := range o.entries { // of an earlier run of the agent: not in a hurry to release them
			o.pins[key] = time.Now()
		}
		o.synced, o.changed = true, true
	}
}

// forget begins anew with another cluster, or another history of it.
func (o *ownFacts) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.entries)
	o.synced = false
	o.epoch++
}

// view returns a copy of the entries. ok is false until there was a list.
func (o *ownFacts) view() (entries map[string]ownFact, epoch int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.entries), o.epoch, o.synced
}

// wrote notes this host's own write; a nil value is a deletion.
func (o *ownFacts) wrote(epoch int, key string, value []byte, revision int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if epoch != o.epoch || o.entries[key].revision > revision {
		return
	}
	o.entries[key] = ownFact{hash: o.hash(value), revision: revision, gone: value == nil, since: o.since(key, value)}
}

func (o *ownFacts) currentEpoch() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.epoch
}

func (o *ownFacts) takeChanged() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.changed
	o.changed = false
	return was
}

// pin keeps the publisher from releasing a claim that the Checkpoint does not have yet.
func (o *ownFacts) pin(key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pins[key] = time.Now()
}

// unpin says that the Checkpoint had it at that time: when it goes from there, the claim goes at once. A pin from after
// that time stays.
func (o *ownFacts) unpin(key string, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if since, ok := o.pins[key]; ok && since.Before(at) {
		delete(o.pins, key)
	}
}

// pinned returns how much longer a claim is to be left alone.
func (o *ownFacts) pinned(key string, grace time.Duration) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	since, ok := o.pins[key]
	if !ok {
		return 0
	}
	left := grace - time.Since(since)
	if left <= 0 {
		delete(o.pins, key)
	}
	return left
}
