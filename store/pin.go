package store

import (
	"maps"
	"reflect"
	"time"
)

// pinLife is how old a snapshot on disk may be for its claims to be held against etcd's. Releases are kept in etcd for
// longer, so a host that comes back within this time finds the release of each claim that has changed hands.
const (
	pinLife     = 29 * 24 * time.Hour
	releaseLife = 30 * 24 * time.Hour
)

// pinned is what a first list starts from: the claims and revocations that this host has seen.
func pinned(from *Snapshot, now time.Time) *Snapshot {
	next := &Snapshot{Revoked: from.Revoked}
	if now.Sub(from.Taken) < pinLife {
		next.Blocks, next.Statics, next.Routers = from.Blocks, from.Statics, from.Routers
	}
	return next
}

// restagePins settles every pinned claim and revocation anew: etcd may have lost it, or has its release.
func (t *trust) restagePins(s *Snapshot) {
	stage := func(k factKey) {
		if _, ok := t.staged[k.String()]; !ok {
			t.staged[k.String()] = stagedFact{key: k.String(), k: k}
		}
	}
	for k := range s.Blocks {
		stage(blockKey(k))
	}
	for k := range s.Statics {
		stage(staticKey(k))
	}
	for a := range s.Routers {
		stage(routerKey(a))
	}
	for host := range s.Revoked {
		stage(revokedKey(host))
	}
}

// restage settles one claim again, unless it is on its way.
func (t *trust) restage(b *builder, key string) {
	if _, ok := t.staged[key]; ok {
		return
	}
	if k, err := parseKey(key); err == nil {
		t.settleClaim(b, &stagedFact{key: key, k: k})
	}
}

// isReleased says whether the host has given up the claim.
func (t *trust) isReleased(key string, c Claim) bool {
	since, ok := t.released[releasedKey(c.Host, key).String()]
	return ok && !c.Since.After(since)
}

// settleClaim decides who has a claim: the first good one that was seen has it until its host releases it or is removed.
// That etcd has another value, or none, is not enough.
func (t *trust) settleClaim(b *builder, f *stagedFact) {
	offer, offered := t.offers[f.key]
	held, holds := b.claim(f.k)
	_, out := b.next.Revoked[held.Host]
	if holds && (t.isReleased(f.key, held) || out && (!offered || offer.Host != held.Host)) {
		b.changed = true
		b.drop(f.k)
		holds = false
		defer t.settleBlocked(b)
	}
	delete(t.blocked, f.key)
	rivalKey, rival := "", ""
	if offered && !(holds && held.Host == offer.Host) {
		rivalKey, rival = t.rival(b, f.k, offer)
	}
	why := ""
	switch {
	case !offered && holds:
		why = "etcd has lost it, and host " + held.Host + " has not released it"
	case !offered:
	case t.isReleased(f.key, offer):
		why = "host " + offer.Host + " has released it"
	case holds && held.Host != offer.Host:
		why = "host " + offer.Host + " claims it, but host " + held.Host + " has it and has not released it"
	case rival != "":
		why = "host " + offer.Host + " claims it, but host " + rival + " has " + rivalKey
		t.blocked[f.key] = true
	case !holds || !reflect.DeepEqual(held, offer):
		b.take(f.k, offer)
	}
	if f.err == nil { // else that is the reason
		b.note(f.key, why)
	}
}

// revoke shuts a host out: its facts go, but for its claims, which stay until they are deleted.
func (t *trust) revoke(b *builder, r Revocation) {
	if have, ok := b.next.Revoked[r.Host]; ok && reflect.DeepEqual(have, r) {
		return
	}
	b.take(revokedKey(r.Host), r)
	removeFrom(b, &b.next.Hosts, r.Host)
	removeFrom(b, &b.next.Alive, r.Host)
	removeFrom(b, &b.next.Endpoints, r.Host)
	delete(b.copied, r.Host)
	delete(t.waiting, r.Host)
	delete(t.authors, r.Host)
	for _, key := range t.claimKeys(b, r.Host) {
		t.restage(b, key)
	}
}

// claimKeys are the keys of a host's claims.
func (t *trust) claimKeys(b *builder, host string) []string {
	var keys []string
	add := func(k factKey, c Claim) {
		if c.Host == host {
			keys = append(keys, k.String())
		}
	}
	for k, c := range maps.All(b.next.Blocks) {
		add(blockKey(k), c)
	}
	for k, c := range maps.All(b.next.Statics) {
		add(staticKey(k), c)
	}
	for a, c := range maps.All(b.next.Routers) {
		add(routerKey(a), c)
	}
	return keys
}

// verifiedBefore says whether the last Snapshot holds the very same fact.
func verifiedBefore(have *Snapshot, k factKey, fact any) bool {
	switch fact := fact.(type) {
	case Endpoint:
		before, ok := have.Endpoint(fact.Key())
		return ok && reflect.DeepEqual(before, fact)
	case Claim:
		before, ok := (&builder{next: *have}).claim(k)
		return ok && reflect.DeepEqual(before, fact)
	}
	return false
}
