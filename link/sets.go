package link

import (
	"errors"
	"slices"

	"github.com/google/nftables"
)

// elementsPerMessage bounds the set elements of one netlink message. A netlink attribute has a 16-bit
// length, which google/nftables lets wrap: elements beyond 64 KiB would be lost without an error. The
// number is even, so that both ends of an interval are in one message.
const elementsPerMessage = 1000

// addSet adds a set and its elements, in as many messages as they need.
func addSet(c *nftables.Conn, set *nftables.Set, elements []nftables.SetElement) error {
	return errors.Join(c.AddSet(set, nil), inMessages(c.SetAddElements, set, elements))
}

// inMessages calls change, which adds elements or deletes them, once for each message.
func inMessages(change func(*nftables.Set, []nftables.SetElement) error, set *nftables.Set, elements []nftables.SetElement) error {
	var errs []error
	for some := range slices.Chunk(elements, elementsPerMessage) {
		errs = append(errs, change(set, some))
	}
	return errors.Join(errs...)
}
