package dns

import (
	"sync/atomic"

	"github.com/miekg/dns"
)

// Why questions get no answer, or a refusal, as Stats counts them.
const (
	dropMalformed  = iota // not even a header
	dropResponse          // an answer
	dropRate              // more than a container may ask
	dropLong              // longer than is taken
	dropLoop              // one that this host has asked itself
	dropBusy              // too many wait for the host's resolvers already
	dropUnpackable        // the reply can't be written
	dropUnproved          // a reply that is too long for a sender who may be another
	dropInternal          // for the host's resolvers, from a container on internal networks only
	dropReasons
)

var dropNames = [dropReasons]string{"malformed", "response", "rate", "long", "loop", "busy", "unpackable", "unproved", "internal"}

// counts is what a Server has done.
type counts struct {
	replies   [16]atomic.Uint64 // by response code; those above in the last
	drops     [dropReasons]atomic.Uint64
	forwarded atomic.Uint64
}

func (c *counts) drop(reason int) { c.drops[reason].Add(1) }

func (c *counts) reply(rcode int) { c.replies[min(rcode, len(c.replies)-1)].Add(1) }

// Stats is what a Server has done since its start.
type Stats struct {
	Replies   map[string]uint64 // by response code: NOERROR, NXDOMAIN, …; those above 14 as BADVERS
	Drops     map[string]uint64 // by reason
	Forwarded uint64            // questions that the host's resolvers were asked; they are among the replies
	Waiting   int               // of these, now
}

// Stats counts.
func (s *Server) Stats() Stats {
	st := Stats{Replies: map[string]uint64{}, Drops: map[string]uint64{}, Forwarded: s.counts.forwarded.Load(), Waiting: s.forward.places.Taken()}
	for rcode := range s.counts.replies {
		name := dns.RcodeToString[rcode]
		if rcode == len(s.counts.replies)-1 {
			name = dns.RcodeToString[dns.RcodeBadVers]
		}
		if n := s.counts.replies[rcode].Load(); n > 0 && name != "" {
			st.Replies[name] = n
		}
	}
	for reason, name := range dropNames {
		st.Drops[name] = s.counts.drops[reason].Load()
	}
	return st
}
