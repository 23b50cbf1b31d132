package store

import (
	"slices"
	"strings"
	"time"
)

// write is one key below the prefix and its new value; nil: delete.
type write struct {
	key      string
	value    []byte
	revision int64     // of the value that is replaced or deleted; 0: it is not in etcd
	since    time.Time // of the claim that is released
}

// plan is what is missing in etcd, and what is there without reason.
type plan struct {
	claims    []write // create if absent
	writes    []write // put, or delete
	releases  []write // claims to delete, when they are no longer pinned
	resigned  []write // claims to write again: this host has another key, or somebody has changed them
	confirmed map[string]bool
	conflicts map[string]string
}

// plan compares the Checkpoint with what etcd has. All results are sorted by key.
func (s *Store) plan(have map[string]ownFact) plan {
	local, snap := s.cp.Local(), s.Snapshot()
	p := plan{confirmed: map[string]bool{}, conflicts: map[string]string{}}
	want := map[string][]byte{}
	defer s.sealer.remember()()
	s.wantFacts(want, local, snap)
	for key, value := range want {
		if f, ok := have[key]; !ok || f.gone || f.hash != s.own.hash(value) {
			if w := (write{key: key, value: value}); len(value) <= maxValue {
				p.writes = append(p.writes, w)
			} else {
				s.complain(tooLong(w))
			}
		}
	}
	claims := wantClaims(local, s.cfg.Self)
	for key, claim := range claims {
		p.confirmed[key] = true
		if f, ok := have[key]; ok && !f.gone {
			claim.Since = s.own.after(key, f.since) // a backup of etcd may bring a claim back that is older than its release
			if value, err := s.sealFact(key, claim); err == nil && s.own.hash(value) != f.hash {
				p.resigned = append(p.resigned, write{key: key, value: value, revision: f.revision})
			}
			continue
		}
		if owner := claimOwner(snap, key); owner != "" && owner != s.cfg.Self {
			p.conflicts[key] = owner
			continue
		}
		claim.Since = s.own.after(key, claim.Since)
		if value, err := s.sealFact(key, claim); err == nil {
			p.claims = append(p.claims, write{key: key, value: value})
		} else {
			s.complain(err)
		}
	}
	for key, f := range have {
		switch kind, _, _ := strings.Cut(key, "/"); {
		case f.gone || want[key] != nil || p.confirmed[key]:
		case kind == kindEndpoint:
			p.writes = append(p.writes, write{key: key})
		case kind == kindBlock || kind == kindStatic:
			p.releases = append(p.releases, write{key: key, revision: f.revision, since: f.since})
		}
	}
	p.releases = append(p.releases, s.lostClaims(have, p.confirmed)...)
	byKey := func(a, b write) int { return strings.Compare(a.key, b.key) }
	slices.SortFunc(p.claims, byKey)
	slices.SortFunc(p.writes, byKey)
	slices.SortFunc(p.releases, byKey)
	slices.SortFunc(p.resigned, byKey)
	return p
}

// wantFacts adds the facts that this host writes about itself. Fields that a newer version of the agent has put there
// stay as long as the fact is about the same thing.
func (s *Store) wantFacts(want map[string][]byte, local *Local, snap *Snapshot) {
	add := func(key string, value []byte, err error) {
		if err != nil {
			s.complain(err)
			return
		}
		want[key] = value
	}
	if host := s.host.Load(); host != nil {
		key := hostKey(host.ID).String()
		value, err := s.sealFact(key, s.sealer.host.next(*host, local.Identity, snap.Hosts[host.ID]))
		add(key, value, err)
	}
	for _, l := range local.Endpoints {
		e := l.Endpoint
		e.V, e.Host, e.Sig = Version, s.cfg.Self, nil
		if have, ok := snap.Endpoint(e.Key()); ok && e.Extra == nil && have.ID == e.ID {
			e.Extra = have.Extra
		}
		key := endpointKey(e.Key()).String()
		value, err := s.sealEndpoint(key, e)
		add(key, value, err)
	}
}

// wantClaims are the claims that the Checkpoint has, by key.
func wantClaims(local *Local, self string) map[string]Claim {
	want := map[string]Claim{}
	add := func(k factKey, c Claim) {
		c.V, c.Host, c.Sig = Version, self, nil
		want[k.String()] = c
	}
	for k, c := range local.Blocks {
		add(blockKey(k), c)
	}
	for k, c := range local.Statics {
		add(staticKey(k), c)
	}
	if router := local.Identity.Router; router.IsValid() {
		add(routerKey(router), Claim{Since: local.Identity.Since})
	}
	return want
}

// claimOwner is the host that the Snapshot gives a claim to; empty: none.
func claimOwner(snap *Snapshot, key string) string {
	k, err := parseKey(key)
	if err != nil {
		return ""
	}
	switch k.kind {
	case kindBlock:
		return snap.Blocks[BlockKey{k.network, k.prefix}].Host
	case kindStatic:
		return snap.Statics[AddrKey{k.network, k.addr}].Host
	case kindRouter:
		return snap.Routers[k.addr].Host
	}
	return ""
}
