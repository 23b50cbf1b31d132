package xfrm

import (
	"net/netip"
	"sync"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// events hands events to whoever reads them, and never waits for him.
type events struct {
	mu     sync.Mutex
	ch     chan ipsec.Event
	closed bool
}

// send reports whether the event found room.
func (e *events) send(ev ipsec.Event) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	select {
	case e.ch <- ev:
		return true
	default:
		return false
	}
}

func (e *events) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.closed = true
		close(e.ch)
	}
}

// report tells of the SAs that the handshake must replace.
func (p *Plane) report(now time.Time) {
	p.each(func(e *peer, a *association) {
		if a.over() && now.Sub(a.told) >= tellAgain && p.events.send(ipsec.Event{Kind: ipsec.SPILimit, Peer: e.Name, SPI: a.key.SPI}) {
			a.told = now
		}
	})
}

// softened tells once that an SA is due to be replaced.
func (p *Plane) softened(e *peer, a *association) {
	if !a.soft {
		a.soft = p.events.send(ipsec.Event{Kind: ipsec.SPISoftLimit, Peer: e.Name, SPI: a.key.SPI, Remote: e.Remote})
	}
}

// strayed tells now and then that authentic packets come from elsewhere than from where the config has the peer.
func (p *Plane) strayed(e *peer, a *association, from netip.AddrPort) {
	now := p.now()
	known := netip.AddrPortFrom(e.Remote.Addr().Unmap(), e.Remote.Port())
	if a.out || from == known || from.Port() == 0 || now.Sub(a.moved) < moveAgain {
		return
	}
	if p.events.send(ipsec.Event{Kind: ipsec.PeerMoved, Peer: e.Name, SPI: a.key.SPI, Remote: from}) {
		a.moved = now
	}
}
