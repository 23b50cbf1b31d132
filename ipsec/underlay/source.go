package underlay

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// sourceAge is how long a choice of source is kept: routes change.
	sourceAge = 30 * time.Second
	// maxChoices is how many choices are kept; then all are made anew. More peers than this there are not, but an
	// answer to a stranger makes an entry, too.
	maxChoices = 10000
)

// sources chooses the local address that datagrams to a destination leave from, when the socket is bound to the
// wildcard address: always one that was advertised, so that the other side's firewall knows it. Safe for concurrent use.
type sources struct {
	addrs  []netip.Addr // advertised, unmapped
	chosen sync.Map     // netip.Addr of the destination → choice
	made   atomic.Int64 // choices since chosen was empty
	lookup func(netip.Addr) netip.Addr
	now    func() time.Time
}

type choice struct {
	source netip.Addr // invalid: the kernel's
	at     time.Time
}

func newSources(addrs []netip.Addr) *sources {
	s := &sources{lookup: kernelSource, now: time.Now}
	for _, a := range addrs {
		if a = a.Unmap(); !a.IsUnspecified() {
			s.addrs = append(s.addrs, a)
		}
	}
	return s
}

// to gives the source for a destination; an invalid address leaves it to the kernel.
func (s *sources) to(dst netip.Addr) netip.Addr {
	if len(s.addrs) == 0 {
		return netip.Addr{}
	}
	now := s.now()
	if c, ok := s.chosen.Load(dst); ok && now.Sub(c.(choice).at) < sourceAge {
		return c.(choice).source
	}
	c := choice{source: s.choose(dst), at: now}
	if s.made.Add(1) > maxChoices {
		s.chosen.Clear()
		s.made.Store(1)
	}
	s.chosen.Store(dst, c)
	return c.source
}

// forget drops a choice, after sending with it has failed.
func (s *sources) forget(dst netip.Addr) { s.chosen.Delete(dst) }

// choose prefers the address that the route to dst names.
func (s *sources) choose(dst netip.Addr) netip.Addr {
	routed := s.lookup(dst)
	if slices.Contains(s.addrs, routed) {
		return routed
	}
	for _, a := range s.addrs {
		if a.Is4() == dst.Is4() {
			return a
		}
	}
	return netip.Addr{}
}

// kernelSource asks the routing table by connecting a socket, which sends nothing.
func kernelSource(dst netip.Addr) netip.Addr {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(dst, 9)))
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}
