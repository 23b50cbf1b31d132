package main

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/pathmtu"
	"github.com/meshsec/meshsec/store"
)

const (
	// probeEvery is how often each tunnel is probed for its health and round-trip time at least.
	probeEvery = pathmtu.Validate
	// probeTick is how often the searches are asked what to probe.
	probeTick = 250 * time.Millisecond
	// probeID marks our echo requests; the router's namespace has no other ones.
	probeID = 0x6d73
)

// prober sends echo requests from this host's router address to those of the peers, through the tunnels: it knows the
// last answer of each, and searches the MTU of each path. Safe for concurrent use.
type prober struct {
	ping    *link.Pinger
	snap    func() *store.Snapshot
	ready   func() map[string]bool // the peers whose tunnels have keys
	self    string
	limit   func(store.Host) int // the largest MTU that the path to a host can have, bytes
	changed func()               // a path's MTU has changed; must not block
	silent  func(peer string)    // nothing has come back for a while; must not block
	log     *logrus.Entry
	start   time.Time

	mu    sync.Mutex
	seq   uint16
	peers map[string]*probed // by host ID
}

// probed is what is known of one tunnel.
type probed struct {
	router netip.Addr
	via    string // its underlay address
	rtt    time.Duration
	at     time.Time // of the last answer
	since  time.Time // when it could be asked first, or was last said to be silent
	search *pathmtu.Search
}

// probe sends one small echo request to a peer. It does not wait.
func (p *prober) probe(peer string) { p.send(peer, p.snap().Hosts[peer].Router, pathmtu.Probe) }

func (p *prober) send(peer string, router netip.Addr, size int) {
	if !router.IsValid() {
		return
	}
	p.mu.Lock()
	p.seq++
	seq := p.seq
	p.mu.Unlock()
	if err := p.ping.Send(router, probeID, seq, size); err != nil {
		p.log.WithFields(logrus.Fields{"peer": peer, "addr": router, "error": err}).Debug("probe not sent")
	}
}

// last gives the round-trip time of the last answered small probe and when any answer came.
func (p *prober) last(peer string) (time.Duration, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.peers[peer]; d != nil {
		return d.rtt, d.at
	}
	return 0, time.Time{}
}

// mtu is what the path to a peer carries, in inner bytes; 0: not known yet.
func (p *prober) mtu(peer string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.peers[peer]; d != nil {
		return d.search.MTU()
	}
	return 0
}

// run probes every peer and takes the answers, until ctx ends.
func (p *prober) run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- p.ping.Run(ctx, p.answered) }()
	tick := time.NewTicker(probeTick)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return <-done
		case <-tick.C:
			p.round(time.Since(p.start))
		}
	}
}

// answered takes an echo reply.
func (p *prober) answered(r link.Reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.peers {
		if d.router == r.From {
			d.at = time.Now()
			if r.Size <= pathmtu.Probe {
				d.rtt = r.RTT
			}
			d.search.Answered(r.Size)
		}
	}
}

// round sends what the searches ask for, and tells of a changed MTU.
func (p *prober) round(now time.Duration) {
	type question struct {
		peer   string
		router netip.Addr
		size   int
	}
	var ask []question
	var mute []string
	changed := false
	ready, hosts := p.ready(), p.snap().Hosts
	p.mu.Lock()
	for id := range p.peers {
		if _, known := hosts[id]; !known {
			delete(p.peers, id)
		}
	}
	for id, h := range hosts {
		d := p.peers[id]
		if id == p.self || !ready[id] {
			if d != nil {
				d.since = time.Now()
			}
			continue
		}
		if via := underlayOf(h); d == nil || d.router != h.Router || d.via != via {
			d = &probed{router: h.Router, via: via, search: pathmtu.New(p.limit(h)), since: time.Now()}
			p.peers[id] = d
		}
		if time.Since(later(d.at, d.since)) > silent {
			d.since = time.Now()
			mute = append(mute, id)
		}
		before := d.search.MTU()
		d.search.SetMax(now, p.limit(h))
		sizes, _ := d.search.Tick(now)
		if mtu := d.search.MTU(); mtu != before {
			changed = true
			p.log.WithFields(logrus.Fields{"peer": id, "mtu": mtu}).Info("path MTU")
		}
		for _, size := range sizes {
			ask = append(ask, question{id, h.Router, size})
		}
	}
	p.mu.Unlock()
	for _, q := range ask {
		p.send(q.peer, q.router, q.size)
	}
	for _, id := range mute {
		p.silent(id)
	}
	if changed {
		p.changed()
	}
}
