package handshake

import (
	"net/netip"
	"time"
)

const (
	// partLife is how long the first part of a message waits for the other.
	partLife = 2 * time.Second
	// maxStrangers bounds the slots of sources that are no peer's address.
	maxStrangers = 64
)

// slotKey: one slot per source and type, so that the answer to our init does not push out the peer's own init.
type slotKey struct {
	from netip.AddrPort
	kind byte
}

type slot struct {
	h       header
	body    []byte
	expires time.Duration
}

// reassembly puts messages of two datagrams together. Only datagrams with a good MAC get here. Peers have their own slots,
// so strangers can only push out each other.
type reassembly struct {
	peers, strangers map[slotKey]slot
}

func newReassembly() reassembly {
	return reassembly{peers: make(map[slotKey]slot), strangers: make(map[slotKey]slot)}
}

// add returns the whole message, or nil while a part is missing.
func (r *reassembly) add(now time.Duration, from netip.AddrPort, known bool, h header, body []byte) []byte {
	if h.parts == 1 {
		return body
	}
	slots := r.strangers
	if known {
		slots = r.peers
	}
	key := slotKey{from, h.kind}
	other, ok := slots[key]
	if ok && now < other.expires && other.h.sender == h.sender && other.h.receiver == h.receiver && other.h.part != h.part {
		delete(slots, key)
		if h.part == 0 {
			return append(append([]byte(nil), body...), other.body...)
		}
		return append(other.body, body...)
	}
	if !ok && !known && len(slots) >= maxStrangers {
		evictOldest(slots)
	}
	slots[key] = slot{h: h, body: append([]byte(nil), body...), expires: now + partLife}
	return nil
}

func evictOldest(slots map[slotKey]slot) {
	var oldest slotKey
	expires := never
	for k, s := range slots {
		// The source breaks ties, so that equal runs stay equal.
		if s.expires < expires || s.expires == expires && k.from.Compare(oldest.from) < 0 {
			oldest, expires = k, s.expires
		}
	}
	delete(slots, oldest)
}

// expire forgets parts that waited too long and returns when the next one will have.
func (r *reassembly) expire(now time.Duration) (next time.Duration) {
	next = never
	for _, slots := range []map[slotKey]slot{r.peers, r.strangers} {
		for k, s := range slots {
			if s.expires <= now {
				delete(slots, k)
				continue
			}
			next = min(next, s.expires)
		}
	}
	return next
}
