package ipsec

import "slices"

// EqualButSAs says that c and o differ in SAs at most: the same peers, reached in the same way through the same routes.
func (c Config) EqualButSAs(o Config) bool {
	return c.Router == o.Router && c.MTU == o.MTU && slices.EqualFunc(c.Peers, o.Peers, func(a, b Peer) bool {
		return a.Name == b.Name && a.Remote == b.Remote && a.Encap == b.Encap && a.Router == b.Router && a.MTU == b.MTU &&
			SamePrefixes(a.Prefixes, b.Prefixes)
	})
}

// EqualSAs says that the peers of c and o, taken in order, have the same SAs. When they were made does not matter.
func (c Config) EqualSAs(o Config) bool {
	return slices.EqualFunc(c.Peers, o.Peers, func(a, b Peer) bool {
		return slices.EqualFunc(a.In, b.In, sameSA) && (a.Out == nil) == (b.Out == nil) && (a.Out == nil || sameSA(*a.Out, *b.Out))
	})
}

func sameSA(a, b SA) bool { return a.SPI == b.SPI && a.Cipher == b.Cipher && a.Key == b.Key }

// Equal says that a data plane has the same work with both.
func (c Config) Equal(o Config) bool { return c.EqualButSAs(o) && c.EqualSAs(o) }
