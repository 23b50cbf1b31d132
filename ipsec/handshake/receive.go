package handshake

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// snapshotEvery is how often unknown keys may ask for a snapshot.
const snapshotEvery = 2 * time.Second

// Receive takes one datagram without its non-ESP marker. It does not keep msg.
func (m *Machine) Receive(now time.Duration, from netip.AddrPort, msg []byte) []Output {
	from = unmap(from)
	if len(msg) > headerLen && msg[0] == typeCookie {
		return m.receiveCookie(now, msg)
	}
	h, body, err := parseDatagram(msg, m.mac)
	if err != nil {
		m.drops[dropReason(err)]++
		return nil
	}
	known := m.remotes[from] != nil
	if h.kind == typeResponse && m.inits[h.receiver] == nil {
		m.drops["late-response"]++
		return nil
	}
	proven := false
	if h.kind == typeInitCookie {
		proven, body = m.gate.proves(now, from, msg), body[macLen:]
	}
	if h.begins() && m.gate.count(now) {
		if !proven {
			return m.refuse(now, from, h, known)
		}
		if !m.gate.admit(from, known) {
			m.drops["rate"]++
			return nil
		}
	}
	if body = m.parts.add(now, from, known, h, body); body == nil {
		return nil
	}
	if h.kind == typeResponse {
		return m.receiveResponse(now, from, h, body)
	}
	return m.receiveInit(now, from, h, body, proven)
}

// refuse drops an init without a cookie while this host is under load. Only a first part, which is as long as a datagram
// can be, gets a cookie: an answer is never longer than what it answers.
func (m *Machine) refuse(now time.Duration, from netip.AddrPort, h header, known bool) []Output {
	m.drops["load"]++
	if h.parts != 2 || h.part != 0 || !m.gate.mayAsk(known) {
		return nil
	}
	return m.ask(now, from, h)
}

func dropReason(err error) string {
	switch {
	case errors.Is(err, errMAC):
		return "mac"
	case errors.Is(err, errHeader):
		return "header"
	}
	return "payload"
}

// drop counts a message and leaves a note for the status of the peer at its source, if there is one.
func (m *Machine) drop(from netip.AddrPort, reason, note string) []Output {
	m.drops[reason]++
	if p := m.remotes[from]; p != nil {
		p.note = note
	}
	return nil
}

// receiveInit answers an init. The pair that it makes is pending: a replay makes one, too, but can't use it. As long as a
// pair is pending, a further init must prove where it comes from.
func (m *Machine) receiveInit(now time.Duration, from netip.AddrPort, h header, body []byte, proven bool) []Output {
	if len(body) < 32 {
		return m.drop(from, "payload", "")
	}
	ephemeral := [32]byte(body)
	if m.seen.contains(now, ephemeral) {
		m.drops["replay"]++
		return nil
	}
	hs, err := m.newNoise(false, nil)
	if err != nil {
		return m.drop(from, "internal", err.Error())
	}
	payload, _, _, err := hs.ReadMessage(nil, body)
	if err != nil {
		return m.drop(from, "unopened", "its init does not open: another environment, or it has an old key of this host")
	}
	init, err := parseInit(payload)
	if err != nil {
		return m.drop(from, "payload", "its init is malformed")
	}
	p := m.peers[init.sender]
	if p == nil || p.Public != [32]byte(hs.PeerStatic()) {
		m.drop(from, "unknown-key", "its init has an unknown key")
		if now < m.snapshotAt {
			return nil
		}
		m.snapshotAt = now + snapshotEvery
		return []Output{NeedSnapshot{}}
	}
	m.seen.add(now, ephemeral)
	if init.receiver != m.id.HostID {
		return m.drop(from, "wrong-host", fmt.Sprintf("its init is for host %q", init.receiver))
	}
	if !proven && slices.ContainsFunc(p.pairs, (*pair).pending) {
		m.drops["unconfirmed"]++
		return m.ask(now, from, h)
	}
	cipher, ok := chooseCipher(init.ciphers, m.options.Ciphers)
	if !ok {
		return m.drop(from, "cipher", "no cipher in common")
	}
	if !m.choosePPK(hs, init) {
		m.drops["ppk"]++
		p.note = m.ppkNote(init)
		return nil
	}
	r := responsePayload{cipher: cipher, observed: from}
	if p.out != nil {
		r.sending = p.out.out.SPI
	}
	pr, answer, err := m.answer(now, p, hs, init, r)
	if err != nil {
		return m.drop(from, "internal", err.Error())
	}
	pr.from = from
	m.wipe(p.insert(pr))
	outputs := []Output{SAsChanged{p.HostID}}
	for _, d := range split(header{kind: typeResponse, receiver: h.sender}, answer, macKey(p.Public[:])) {
		outputs = append(outputs, Send{from, d})
	}
	return outputs
}

// receiveResponse completes a handshake of this host: its pair is used at once.
func (m *Machine) receiveResponse(now time.Duration, from netip.AddrPort, h header, body []byte) []Output {
	p := m.inits[h.receiver]
	if p == nil {
		m.drops["late-response"]++
		return nil
	}
	pr, r, err := m.complete(now, p, p.init, body)
	if err != nil {
		p.note = "a response does not open: it is not from it, or was altered"
		m.drops["unopened"]++
		return nil
	}
	// The SPI is the pair's from now on, so cancel must not free it.
	delete(m.inits, p.init.index)
	p.init.wipe()
	p.init = nil
	p.observed, p.note, p.attempts = r.observed, "", 0
	m.keepAlive(now, p)
	m.move(p, from) // it is new: it answers an init of now
	if sending := p.find(r.sending); sending != nil {
		p.confirm(now, sending)
	}
	m.wipe(p.insert(pr))
	p.adopt(pr)
	p.startAt = now + proofTime
	p.probes, p.probeAt = 0, now
	return []Output{SAsChanged{p.HostID}, m.probe(p)}
}
