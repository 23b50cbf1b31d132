package store

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// stages are the kinds that need a signature, or rest on facts that do, in the order in which they are settled.
var stages = [][]string{{kindCA}, {kindRevoked}, {kindHost}, {kindReleased}, {kindBlock, kindStatic, kindRouter}, {kindEndpoint}, {kindNetwork}}

// stage takes in a value from etcd, nil if the key is gone, for the next settle. All others go to b at once.
func (t *trust) stage(b *builder, key string, value []byte) {
	k, err := parseKey(key)
	settled := err == nil && slices.ContainsFunc(stages, func(kinds []string) bool { return slices.Contains(kinds, k.kind) })
	switch {
	case settled:
		t.staged[key] = stagedFact{key: key, k: k, value: value}
	case value == nil:
		b.remove(key)
	default:
		b.set(key, value)
	}
}

// stagedFact is one key on its way.
type stagedFact struct {
	key   string
	k     factKey
	value []byte // nil: gone
	fact  any    // from here on what opening it has given
	err   error
}

// settle carries what was staged into b. have is the last Snapshot.
func (t *trust) settle(b *builder, have *Snapshot) {
	for key, value := range t.refused { // what they were refused for may have ended
		if _, ok := t.staged[key]; !ok {
			t.stage(b, key, value)
		}
	}
	clear(t.refused)
	for _, kinds := range stages {
		list := t.take(kinds)
		switch kinds[0] {
		case kindCA:
			t.each(list, func(f *stagedFact) { f.fact, f.err = t.openCA(f.value) })
		case kindRevoked:
			t.each(list, t.openRevoked)
		case kindHost:
			t.each(list, t.openHost)
		case kindNetwork:
			t.each(list, func(f *stagedFact) { f.fact, f.err = decodeValue(f.k, f.value) })
			t.settleNetworks(b, have, list)
			continue
		default:
			t.each(list, func(f *stagedFact) { f.fact, f.err = t.open(have, &b.next, f.k, f.key, f.value) })
		}
		for i := range list {
			t.apply(b, &list[i])
		}
	}
}

// take empties the staged facts of some kinds into a list, sorted, so that equal facts give equal results.
func (t *trust) take(kinds []string) []stagedFact {
	var list []stagedFact
	for key, f := range t.staged {
		if slices.Contains(kinds, f.k.kind) {
			list = append(list, f)
			delete(t.staged, key)
		}
	}
	slices.SortFunc(list, func(a, b stagedFact) int { return strings.Compare(a.key, b.key) })
	return list
}

// each opens all that have a value; many at once by all processors, for a first list has 65,000 signatures.
func (t *trust) each(list []stagedFact, open func(*stagedFact)) {
	const few = 32
	workers := min(runtime.GOMAXPROCS(0), len(list)/few)
	if workers < 2 || list[0].k.kind == kindRevoked || list[0].k.kind == kindHost {
		workers = 1
	}
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := w; i < len(list); i += workers {
				if list[i].value != nil {
					open(&list[i])
				}
			}
		})
	}
	group.Wait()
}

// apply takes over one fact, or says why not. What was good before stays: who can only write to etcd takes nothing away.
func (t *trust) apply(b *builder, f *stagedFact) {
	if f.k.kind == kindCA {
		t.applyCA(b, f)
		return
	}
	for _, keys := range t.waiting {
		delete(keys, f.key)
	}
	var u unverified
	if errors.As(f.err, &u) && u.wait {
		if t.waiting[u.host] == nil {
			t.waiting[u.host] = map[string][]byte{}
		}
		t.waiting[u.host][f.key] = f.value
	}
	if f.err != nil {
		b.note(f.key, f.err.Error())
	} else {
		b.note(f.key, "")
	}
	good := f.value != nil && f.err == nil
	switch {
	case f.k.kind == kindRevoked && good:
		t.revoke(b, f.fact.(Revocation))
	case f.k.kind == kindHost && good:
		t.takeHost(b, f)
	case f.k.kind == kindReleased && good:
		t.released[f.key] = f.fact.(Release).Since
		t.restage(b, f.k.claim)
	case f.k.isClaim():
		if good {
			t.offers[f.key] = f.fact.(Claim)
		} else {
			delete(t.offers, f.key)
		}
		t.settleClaim(b, f)
	case good:
		b.take(f.k, f.fact)
	case f.k.kind == kindRevoked:
		if _, out := b.next.Revoked[f.k.host]; out {
			b.note(f.key, revocationLost)
		}
	case f.value == nil && (f.k.kind == kindHost || f.k.kind == kindEndpoint):
		b.changed = true
		b.drop(f.k)
	}
}

// revocationLost is noted of a revocation that is not in etcd (any more). It holds, and is put back.
const revocationLost = "etcd has lost it"

func (t *trust) openRevoked(f *stagedFact) {
	if f.fact, f.err = decodeValue(f.k, f.value); f.err != nil {
		return
	}
	anchors, err := t.anchors()
	if f.err = err; err != nil {
		return
	}
	for _, ca := range anchors {
		public, ok := ca.PublicKey.(ed25519.PublicKey)
		if !ok {
			f.err = errors.New("the authority's key is not Ed25519")
			continue
		}
		if f.err = unseal(public, t.environment, f.key, f.value); f.err == nil {
			return
		}
	}
}

// openHost checks a host's fact by the certificate that it brings.
func (t *trust) openHost(f *stagedFact) {
	fact, err := decodeValue(f.k, f.value)
	if err != nil {
		f.err = err
		return
	}
	h := fact.(Host)
	known := t.authors[f.k.host]
	public := known.public
	if !bytes.Equal(h.Cert, known.cert) || public == nil {
		if public, f.err = t.verifyCert(h.Cert, f.k.host); f.err != nil {
			return
		}
	}
	if f.err = unseal(public, t.environment, f.key, f.value); f.err == nil {
		f.fact = h
	}
}

// takeHost takes over a host's fact that is good in itself, if it is newer than the one before.
func (t *trust) takeHost(b *builder, f *stagedFact) {
	h := f.fact.(Host)
	before := t.authors[h.ID]
	last, there := b.next.Hosts[h.ID]
	_, out := b.next.Revoked[h.ID]
	switch {
	case out:
		b.note(f.key, "the host was removed from the environment")
		return
	case h.Seq < before.seq, h.Seq == before.seq && there && !reflect.DeepEqual(h, last):
		b.note(f.key, fmt.Sprintf("it is not newer than the one before (number %d after %d)", h.Seq, before.seq))
		return
	}
	public := before.public
	if !bytes.Equal(before.cert, h.Cert) {
		public, _ = t.verifyCert(h.Cert, h.ID) // has been good a moment ago
	}
	t.authors[h.ID] = author{h.Cert, public, h.Seq}
	if !there || !reflect.DeepEqual(h, last) {
		b.take(f.k, h)
	}
	if !bytes.Equal(public, before.public) {
		for key, value := range t.waiting[h.ID] {
			t.stage(b, key, value)
		}
	}
}
