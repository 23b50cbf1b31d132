package handshake

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// snapshotEvery is how often unknown keys may ask for a snapshot.
const snapshotEvery = 2 * time.Second

// Receive takes one datagram without its non-ESP marker. It does not keep msg.
func (m *Machine) Receive(now time.Duration, from netip.AddrPort, msg []byte) []Output {
	from = unmap(from)
	h, body, err := parseDatagram(msg, m.macKey)
	if err != nil {
		m.drops[dropReason(err)]++
		return nil
	}
	at := m.remotes[from]
	if h.kind == typeResponse && m.inits[h.receiver] == nil {
		m.drops["late-response"]++
		return nil
	}
	if body = m.parts.add(now, from, at != nil, h, body); body == nil {
		return nil
	}
	if h.kind == typeResponse {
		return m.receiveResponse(now, from, h, body)
	}
	return m.receiveInit(now, from, h, body)
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

// receiveInit answers an init. The pair that it makes is pending: a replay makes one, too, but can't use it.
func (m *Machine) receiveInit(now time.Duration, from netip.AddrPort, h header, body []byte) []Output {
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
	cipher, ok := chooseCipher(init.ciphers, m.options.Ciphers)
	if !ok {
		return m.drop(from, "cipher", "no cipher in common")
	}
	r := responsePayload{cipher: cipher, observed: from}
	if p.out != nil {
		r.sending = p.out.out.SPI
	}
	pr, answer, err := m.answer(now, p, hs, init, r)
	if err != nil {
		return m.drop(from, "internal", err.Error())
	}
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
		p.note = "a response does not open: another PPK, or not from it"
		m.drops["unopened"]++
		return nil
	}
	// The SPI is the pair's from now on, so cancel must not free it.
	delete(m.inits, p.init.index)
	p.init.wipe()
	p.init = nil
	p.observed, p.note, p.attempts = r.observed, "", 0
	if sending := p.find(r.sending); sending != nil {
		p.confirm(now, sending)
	}
	m.wipe(p.insert(pr))
	p.adopt(pr)
	p.startAt = now + proofTime
	p.probes, p.probeAt = 0, now
	return []Output{SAsChanged{p.HostID}, m.probe(p)}
}
