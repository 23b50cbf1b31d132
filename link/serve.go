package link

import (
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// serveChain lets in what is for ServiceAddr.
const serveChain = "serve"

// Of each service's set of the source addresses that ask it: how many are remembered, and for how long after their last packet,
// which is longer than an allowance takes to be whole again. Further ones meanwhile have no limit: there are not as many containers.
const (
	maxSources    = 1 << 16
	sourceTimeout = 10 * time.Second
)

// buildServe writes the chain, and the counters on from what they were.
func buildServe(c *nftables.Conn, t *nftables.Table, services []Service, counts map[string]uint64) error {
	serve := c.AddChain(&nftables.Chain{Name: serveChain, Table: t})
	for i, s := range services {
		to := func() rule { return rule{}.protocol(s.protocol()).port(s.Port) }
		if s.Rate > 0 {
			set := &nftables.Set{Table: t, Name: s.flood(), ID: uint32(i + 1), KeyType: nftables.TypeIPAddr,
				Dynamic: true, HasTimeout: true, Timeout: sourceTimeout, Size: maxSources}
			if err := c.AddSet(set, nil); err != nil {
				return err
			}
			c.AddObj(&nftables.CounterObj{Table: t, Name: s.flood(), Packets: counts[s.flood()]})
			much := to()
			if !s.UDP {
				much = much.syn()
			}
			c.AddRule(&nftables.Rule{Table: t, Chain: serve, Exprs: much.over(s.Rate, set).count(s.flood()).drop()})
		}
		c.AddRule(&nftables.Rule{Table: t, Chain: serve, Exprs: to().accept()})
	}
	return nil
}

// over matches what a source address sends beyond the rate: each has a token bucket in the set, which is made with its first packet
// (net/netfilter/nft_dynset.c, nft_limit.c). A listing of the rule says nothing about the buckets.
func (m rule) over(rate uint32, set *nftables.Set) rule {
	return append(m, payload(expr.PayloadBaseNetworkHeader, sourceOffset, 4), &expr.Dynset{
		SrcRegKey: 1, SetName: set.Name, SetID: set.ID, Operation: unix.NFT_DYNSET_OP_UPDATE, Timeout: sourceTimeout,
		Exprs: []expr.Any{&expr.Limit{Type: expr.LimitTypePkts, Rate: uint64(rate), Unit: expr.LimitTimeSecond, Burst: 2 * rate, Over: true}}})
}
