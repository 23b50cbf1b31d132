package main

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

// probeEvery is how often each tunnel is probed for its health and round-trip time, beside the handshake's own probes.
const probeEvery = 10 * time.Second

// prober sends echo requests from this host's router address to those of the peers, through the tunnels, and keeps the
// last answer of each. Safe for concurrent use.
type prober struct {
	ping *link.Pinger
	snap func() *store.Snapshot
	self string
	log  *logrus.Entry

	mu      sync.Mutex
	seq     uint16
	answers map[netip.Addr]answer
}

type answer struct {
	rtt time.Duration
	at  time.Time
}

// probeID marks our echo requests; the router's namespace has no other ones.
const probeID = 0x6d73

func newProber(ping *link.Pinger, snap func() *store.Snapshot, self string, log *logrus.Entry) *prober {
	return &prober{ping: ping, snap: snap, self: self, log: log, answers: map[netip.Addr]answer{}}
}

// probe sends one echo request to a peer. It does not wait.
func (p *prober) probe(peer string) {
	router := p.snap().Hosts[peer].Router
	if !router.IsValid() {
		return
	}
	p.mu.Lock()
	p.seq++
	seq := p.seq
	p.mu.Unlock()
	if err := p.ping.Send(router, probeID, seq); err != nil {
		p.log.WithFields(logrus.Fields{"peer": peer, "addr": router, "error": err}).Debug("probe not sent")
	}
}

// last gives the round-trip time of the last answered probe and when the answer came.
func (p *prober) last(peer string) (time.Duration, time.Time) {
	router := p.snap().Hosts[peer].Router
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.answers[router]
	return a.rtt, a.at
}

// run probes every peer now and then, and takes the answers, until ctx ends.
func (p *prober) run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() {
		done <- p.ping.Run(ctx, func(r link.Reply) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.answers[r.From] = answer{rtt: r.RTT, at: time.Now()}
		})
	}()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return <-done
		case <-tick.C:
			for id := range p.snap().Hosts {
				if id != p.self {
					p.probe(id)
				}
			}
		}
	}
}
