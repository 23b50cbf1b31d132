package handshake

import (
	"fmt"
	"time"
)

const (
	// firstRetry is how long the first init waits for its response; each further one waits twice as long, up to maxRetry.
	firstRetry = time.Second
	maxRetry   = 15 * time.Second
	// proofTime is how long a new pair may go without a packet before another handshake begins.
	proofTime = 5 * time.Second
	// secondDelay is by how much the larger host ID waits for the smaller one to begin where either could.
	secondDelay = 5 * time.Second
	// keepaliveEvery is how often a NAT is shown that its mapping is in use (RFC 3948, section 4).
	keepaliveEvery = 20 * time.Second
	// initsPerTick keeps a Tick short when hundreds of peers appear at once; the next one follows at once.
	initsPerTick = 16
)

// Tick does what is due, and returns when it must be called next at the latest (a time as now is).
func (m *Machine) Tick(now time.Duration) (outputs []Output, next time.Duration) {
	next = min(m.seen.expire(now), m.parts.expire(now))
	budget := initsPerTick
	for _, p := range m.sorted() {
		changed, gone := p.expire(now)
		m.wipe(gone)
		if changed {
			outputs = append(outputs, SAsChanged{p.HostID})
		}
		if p.probeAt <= now {
			outputs = append(outputs, m.probe(p))
		}
		if p.keepAt <= now {
			p.keepAt = now + keepaliveEvery
			outputs = append(outputs, Keepalive{p.remote()})
		}
		if p.begins() && p.startAt <= now && budget > 0 {
			budget--
			outputs = append(outputs, m.begin(now, p)...)
		}
		next = min(next, p.next())
	}
	return outputs, max(next, now)
}

// probe asks for a packet on the pair in use and schedules the next one.
func (m *Machine) probe(p *peer) Output {
	answered := p.probeAt - probeTimes[p.probes]
	p.probes++
	p.probeAt = never
	if p.probes < len(probeTimes) {
		p.probeAt = answered + probeTimes[p.probes]
	}
	return Probe{p.HostID}
}

// begin sends a fresh init in place of the one that may be outstanding.
func (m *Machine) begin(now time.Duration, p *peer) []Output {
	m.cancel(p)
	addrs := m.addresses(p)
	to := addrs[p.attempts%len(addrs)]
	p.attempts++
	p.shortened = p.shortened || p.out != nil && p.out.confirmed
	p.startAt = now + m.backOff((p.attempts+len(addrs)-1)/len(addrs))
	init, body, err := m.newInit(now, p, to)
	if err != nil {
		p.note = fmt.Sprintf("no init could be made: %v", err)
		return nil
	}
	p.init, p.tried = init, now
	m.inits[init.index] = p
	h := header{kind: typeInit, sender: init.index}
	if now >= p.cookieUntil {
		p.cookie = nil
	}
	if p.cookie != nil {
		h.kind = typeInitCookie
	}
	var outputs []Output
	for _, d := range splitWith(p.cookie, h, body, macKey(p.Public[:])) {
		outputs = append(outputs, Send{to, d})
	}
	if p.out == nil || p.attempts > 1 {
		for _, a := range addrs {
			if a != to {
				outputs = append(outputs, Keepalive{a})
			}
		}
	}
	return outputs
}

// backOff is how long an attempt of the given round, from 1, waits for its response. A round tries every address of the peer.
// The jitter keeps hosts that were started together from staying in step.
func (m *Machine) backOff(round int) time.Duration {
	wait := maxRetry
	if round < 5 {
		wait = firstRetry << (round - 1)
	}
	n, err := m.random32()
	if err != nil {
		return wait
	}
	return wait - time.Duration(uint64(wait/4)*uint64(n)>>32)
}
