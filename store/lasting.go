package store

import (
	"fmt"
	"maps"
	"reflect"
	"time"
)

// Nobody signs networks, since any host may make one, and the host may be gone when the network is still in use. But what hosts claim
// in a network is signed: as long as a claim that this host has seen in it stands, the network is what it was then. Who can only
// write to etcd changes no network that is in use, for hosts that know it.

// settleNetworks takes over those networks of a list that are new, the same, or without claims from before.
func (t *trust) settleNetworks(b *builder, have *Snapshot, list []stagedFact) {
	if len(list) == 0 {
		return
	}
	held := lasting(have, &b.next)
	maps.DeleteFunc(t.networks, func(name string, _ Network) bool { return !held[name] })
	for name := range held {
		if n, ok := have.Networks[name]; ok {
			t.networks[name] = n
		}
	}
	for _, f := range list {
		before, pinned := t.networks[f.k.network]
		n, good := f.fact.(Network)
		why := ""
		switch {
		case f.value == nil:
			b.changed = true
			b.drop(f.k)
		case f.err != nil:
			why = f.err.Error()
			b.changed = true
			b.drop(f.k)
		case good && pinned && !sameNetwork(before, n):
			why = fmt.Sprintf("it is not the network that hosts have claims in: pool %s, gateway %s was %s, %s", n.Pool, n.Gateway, before.Pool, before.Gateway)
			t.refused[f.key] = f.value
			if !reflect.DeepEqual(b.next.Networks[f.k.network], before) {
				b.take(f.k, before)
			}
		default:
			b.take(f.k, n)
		}
		b.note(f.key, why)
	}
}

// lasting names the networks in which a claim of the last Snapshot still stands.
func lasting(have, next *Snapshot) map[string]bool {
	held := map[string]bool{}
	for k, c := range have.Blocks {
		if now, ok := next.Blocks[k]; ok && now.Host == c.Host && now.Since.Equal(c.Since) {
			held[k.Network] = true
		}
	}
	for k, c := range have.Statics {
		if now, ok := next.Statics[k]; ok && now.Host == c.Host && now.Since.Equal(c.Since) {
			held[k.Network] = true
		}
	}
	return held
}

// sameNetwork says whether two facts are about the same addresses and options. When it was made does not count: a host that uses a
// network puts it back when etcd has lost it.
func sameNetwork(a, b Network) bool {
	for _, n := range []*Network{&a, &b} {
		n.V, n.Since, n.Sig, n.Extra = 0, time.Time{}, nil, nil
	}
	return reflect.DeepEqual(a, b)
}
