package handshake

import (
	"net/netip"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// unknownEvery is how often unknown SPIs from one peer may begin a handshake.
const unknownEvery = 10 * time.Second

// Event takes what the data plane has seen; kinds that do not concern the handshake are ignored.
func (m *Machine) Event(now time.Duration, e ipsec.Event) []Output {
	switch e.Kind {
	case ipsec.SPIConfirmed:
		return m.Confirmed(now, e.Peer, e.SPI, e.Remote)
	case ipsec.PeerMoved:
		return m.Moved(e.Peer, e.SPI, e.Remote)
	case ipsec.SPILimit:
		return m.Limit(now, e.Peer, e.SPI)
	case ipsec.SPISoftLimit:
		m.SoftLimit(now, e.Peer, e.SPI)
	case ipsec.PeerSilent:
		m.Silent(now, e.Peer)
	case ipsec.UnknownSPI:
		return m.UnknownSPI(now, e.Remote)
	}
	return nil
}

// Confirmed says that the first packet was opened on inbound SA spi of a peer (a host ID), and where it came from; invalid
// if the data plane does not know, then from where the init did.
func (m *Machine) Confirmed(now time.Duration, host string, spi ipsec.SPI, from netip.AddrPort) []Output {
	p := m.peers[host]
	if p == nil {
		return nil
	}
	pr := p.find(spi)
	if pr == nil || pr.dead {
		return nil
	}
	known, out := pr.confirmed, p.out
	p.confirm(now, pr)
	if pr.mute { // a higher one is in use, or was until now
		if p.out != out {
			return []Output{SAsChanged{host}}
		}
		return nil
	}
	if !from.IsValid() || from.Port() == 0 {
		from = pr.from
	}
	moved := m.move(p, from)
	if pr == p.out {
		if !known {
			m.settle(p)
			m.shorten(now, p)
		}
		if moved {
			return []Output{SAsChanged{host}}
		}
		return nil
	}
	p.adopt(pr)
	p.observed = pr.target
	m.keepAlive(now, p)
	m.settle(p)
	m.shorten(now, p)
	// A packet of ours proves the pair to the initiator, without waiting for one of its later probes.
	return []Output{SAsChanged{host}, Probe{host}}
}

// Moved says that an authentic packet of a peer came in on inbound SA spi from an address that it was not at before.
// Packets on SAs that are about to go may have been held back on their way, so they move nobody.
func (m *Machine) Moved(host string, spi ipsec.SPI, from netip.AddrPort) []Output {
	p := m.peers[host]
	if p == nil {
		return nil
	}
	if pr := p.find(spi); pr == nil || pr.mute || !m.move(p, from) {
		return nil
	}
	return []Output{SAsChanged{host}}
}

// Silent says that nothing comes back from a peer whose pair is proven. It may have been restarted and not know where this
// host is, so a handshake begins, and goes on until something comes.
func (m *Machine) Silent(now time.Duration, host string) {
	if p := m.peers[host]; p != nil && p.init == nil && p.out != nil && p.out.confirmed {
		p.startAt = min(p.startAt, now)
	}
}

// settle ends all handshaking: the pair in use is proven.
func (m *Machine) settle(p *peer) {
	m.cancel(p)
	p.attempts, p.note, p.probeAt, p.cookie = 0, "", never, nil
	p.startAt = p.rekeyAt(p.out)
}

// Limit says that the SA spi of a peer, in either direction, has sealed or opened as many packets as it may. It is not
// used any more.
func (m *Machine) Limit(now time.Duration, host string, spi ipsec.SPI) []Output {
	p := m.peers[host]
	if p == nil {
		return nil
	}
	for _, pr := range p.pairs {
		switch {
		case pr == p.out && pr.out.SPI == spi:
			p.giveUpOut(now)
		case !pr.deaf && pr.in.SPI == spi:
			pr.deafen()
			p.startAt = min(p.startAt, now+m.turn(p))
		default:
			continue
		}
		return []Output{SAsChanged{host}}
	}
	return nil
}

// SoftLimit says that the SA spi of a peer, in either direction, has carried so much that its pair is to be replaced. It
// is used until the next pair is there.
func (m *Machine) SoftLimit(now time.Duration, host string, spi ipsec.SPI) {
	if p := m.peers[host]; p != nil && p.out != nil && (p.out.out.SPI == spi || p.out.in.SPI == spi) {
		p.startAt = min(p.startAt, now+m.turn(p))
	}
}

// turn is how long this host waits where either could begin.
func (m *Machine) turn(p *peer) time.Duration {
	if p.smaller {
		return 0
	}
	return secondDelay
}

// UnknownSPI says that ESP came in from an address with an SPI of no inbound SA: this host was restarted and its peer does
// not know it yet.
func (m *Machine) UnknownSPI(now time.Duration, from netip.AddrPort) []Output {
	p := m.remotes[unmap(from)]
	if p == nil || now < p.unknownAt || p.init != nil && now-p.init.sent < firstRetry {
		return nil
	}
	p.unknownAt = now + unknownEvery
	p.startAt = min(p.startAt, now)
	return nil
}
