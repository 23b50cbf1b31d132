package store

import (
	"maps"
	"slices"
)

// rival returns a claim of another host that overlaps: an address inside another's block, a block around another's address
// or across another's block. The transactions that make claims let none come about, so one of the two was written past
// them, and the one that was there first stands.
func (t *trust) rival(b *builder, k factKey, c Claim) (key string, host string) {
	stands := func(k factKey, held Claim) bool {
		if held.Host == c.Host || t.isReleased(k.String(), held) {
			return false
		}
		_, out := b.next.Revoked[held.Host]
		_, offered := t.offers[k.String()]
		return !out || offered
	}
	switch k.kind {
	case kindStatic:
		for bits := range k.addr.BitLen() + 1 {
			prefix, _ := k.addr.Prefix(bits) // of its own length, so there is one
			block := BlockKey{k.network, prefix}
			if held, ok := b.next.Blocks[block]; ok && stands(blockKey(block), held) {
				return blockKey(block).String(), held.Host
			}
		}
	case kindBlock:
		for block, held := range b.next.Blocks {
			if block.Network == k.network && block.Prefix.Overlaps(k.prefix) && stands(blockKey(block), held) {
				return blockKey(block).String(), held.Host
			}
		}
		for static, held := range b.next.Statics {
			if static.Network == k.network && k.prefix.Contains(static.Addr) && stands(staticKey(static), held) {
				return staticKey(static).String(), held.Host
			}
		}
	}
	return "", ""
}

// settleBlocked settles the claims again that had a rival, when one has gone.
func (t *trust) settleBlocked(b *builder) {
	for _, key := range slices.Sorted(maps.Keys(t.blocked)) {
		delete(t.blocked, key)
		t.restage(b, key)
	}
}
