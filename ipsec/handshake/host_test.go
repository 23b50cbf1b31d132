package handshake

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// host is a machine and the data plane that carries its SAs.
type host struct {
	w       *world
	id, env string
	addr    netip.AddrPort // that its fact says
	public  netip.AddrPort // that it has by now, or its NAT; invalid: addr
	secret  Secret
	ppks    []Secret
	options Options
	facts   []Peer

	m       *Machine
	down    bool
	booted  time.Duration
	wakes   time.Duration // when it first knows the other host
	wake    time.Duration
	sas     map[string]ipsec.SASet
	seen    map[ipsec.SPI]bool      // inbound SPIs on which a packet was opened
	given   map[ipsec.SPI]bool      // inbound SPIs that were installed since the boot
	former  map[ipsec.SPI]bool      // … and before it, or that a limit took away
	kept    int                     // keepalives
	opened  map[netip.AddrPort]bool // where packets may come from, as its NAT has seen it send there; nil: everywhere
	proven  map[string]ipsec.SPI    // outbound, of the last pair in use that was confirmed, by peer
	heard   time.Duration
	probes  int
	asked   int // for a snapshot
	packets int // opened
}

// boot starts the host as a new process: nothing but its key and the facts is left.
func (h *host) boot() {
	h.disown()
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(h.w.rng.Uint32())
	}
	var err error
	id := Identity{HostID: h.id, Environment: h.env, Private: h.secret, PPKs: h.ppks}
	h.m, err = newMachine(id, rand.NewChaCha8(seed), h.options, h.w.suite())
	if err != nil {
		h.w.t.Fatal(err)
	}
	h.down, h.booted = false, h.w.now
	h.sas, h.seen, h.given = nil, make(map[ipsec.SPI]bool), make(map[ipsec.SPI]bool)
	h.proven = make(map[string]ipsec.SPI)
	h.step(func(now time.Duration) []Output { return h.m.SetPeers(now, h.facts) })
}

// disown exempts the SAs given so far from the world's law: the host is about to lose them.
func (h *host) disown() {
	for spi := range h.given {
		h.former[spi] = true
	}
}

// know gives the host the fact of another.
func (h *host) know(others ...*host) {
	for _, o := range others {
		h.facts = append(h.facts, o.fact())
	}
	h.setPeers()
}

func (h *host) setPeers() {
	h.step(func(now time.Duration) []Output { return h.m.SetPeers(now, h.facts) })
}

func (h *host) fact() Peer {
	k, err := h.w.suite().noise.GenerateKeypair(bytesReader(h.secret.Bytes[:]))
	if err != nil {
		h.w.t.Fatal(err)
	}
	return Peer{HostID: h.id, Public: [32]byte(k.Public), Remote: h.addr}
}

// step hands the machine one input (nil: none) and carries out what it asks for.
func (h *host) step(input func(now time.Duration) []Output) {
	if h.down {
		return
	}
	now := h.w.now - h.booted
	if input != nil {
		h.do(input(now))
	}
	outputs, next := h.m.Tick(now)
	h.do(outputs)
	h.wake = never
	if next != never {
		h.wake = next + h.booted
	}
}

func (h *host) do(outputs []Output) {
	for _, o := range outputs {
		switch o := o.(type) {
		case SAsChanged:
			h.install()
		case Send:
			h.send(o)
		case Probe:
			h.probes++
			h.esp(o.Peer, true)
		case Keepalive:
			h.kept++
			h.pierce(o.To)
		case NeedSnapshot:
			h.asked++
		}
	}
}

func (h *host) send(o Send) {
	if h.w.tap != nil {
		h.w.tap(h.source(), o.To, o.Msg)
	}
	to, from := h.w.at(o.To), h.source()
	h.pierce(o.To)
	h.w.carry(h, to, false, func() { to.receive(from, o.Msg) })
}

// source is where packets of the host come from, and reach it.
func (h *host) source() netip.AddrPort {
	if h.public.IsValid() {
		return h.public
	}
	return h.addr
}

// pierce lets packets from an address through the host's NAT, because one has gone there.
func (h *host) pierce(to netip.AddrPort) {
	if h.opened != nil {
		h.opened[to] = true
	}
}

// shut says that the host's NAT lets nothing in from an address.
func (h *host) shut(from netip.AddrPort) bool { return h.opened != nil && !h.opened[from] }

// remote is where the data plane has a peer.
func (h *host) remote(peer string) netip.AddrPort {
	if r := h.sas[peer].Remote; r.IsValid() {
		return r
	}
	if p := h.m.peers[peer]; p != nil {
		return p.Remote
	}
	return netip.AddrPort{}
}

func (h *host) receive(from netip.AddrPort, msg []byte) {
	if h.shut(from) {
		return
	}
	h.step(func(now time.Duration) []Output { return h.m.Receive(now, from, msg) })
}

// install is the data plane's Set, and the place where the world's law is checked.
func (h *host) install() {
	h.sas = h.m.SAs()
	for _, set := range h.sas {
		for _, in := range set.In {
			if in.Key.Bytes == [ipsec.KeySize]byte{} {
				h.w.t.Fatalf("%s: an erased key is offered", h.id)
			}
			h.given[in.SPI] = true
		}
	}
	for _, from := range h.w.hosts {
		for _, to := range h.w.hosts {
			out := from.sas[to.id].Out
			if out == nil || from.down || to.down {
				continue
			}
			if p := from.m.peers[to.id]; p != nil && p.out != nil && p.out.confirmed {
				was := from.proven[to.id]
				if to.former[out.SPI] && !to.given[out.SPI] && to.given[was] {
					h.w.t.Fatalf("at %v %s left %v, on which %s sent, for %v of before a restart", h.w.now, from.id, was, to.id, out.SPI)
				}
				from.proven[to.id] = out.SPI
			}
			if to.former[out.SPI] {
				continue
			}
			in := find(to.sas[from.id].In, out.SPI)
			if in == nil || in.Key.Bytes != out.Key.Bytes || in.Cipher != out.Cipher {
				h.w.t.Fatalf("at %v %s sends on %v, which %s does not hold (once given: %v)",
					h.w.now, from.id, out.SPI, to.id, to.given[out.SPI])
			}
		}
	}
}

// esp sends a packet to a peer, sealed with the outbound SA.
func (h *host) esp(peer string, echo bool) {
	out := h.sas[peer].Out
	if out == nil {
		return
	}
	sa, to, from := *out, h.w.at(h.remote(peer)), h.source()
	h.pierce(h.remote(peer))
	h.w.carry(h, to, true, func() { to.open(from, sa, echo) })
}

// open is the data plane's receipt of a packet.
func (h *host) open(from netip.AddrPort, sa ipsec.SA, echo bool) {
	if h.down || h.shut(from) {
		return
	}
	event := ipsec.Event{Kind: ipsec.UnknownSPI, SPI: sa.SPI, Remote: from}
	for peer, set := range h.sas {
		if in := find(set.In, sa.SPI); in != nil && in.Key.Bytes == sa.Key.Bytes {
			h.packets++
			h.heard = h.w.now
			if echo {
				h.esp(peer, false) // the kernel answers before the event is looked at
			}
			event = ipsec.Event{Kind: ipsec.SPIConfirmed, Peer: peer, SPI: sa.SPI, Remote: from}
			if h.seen[sa.SPI] && from == h.remote(peer) {
				return
			} else if h.seen[sa.SPI] {
				event.Kind = ipsec.PeerMoved
			}
			h.seen[sa.SPI] = true
		}
	}
	if event.Kind == ipsec.UnknownSPI {
		h.w.unopened++
	}
	if h.w.rng.Float64() >= h.w.eventLoss {
		h.step(func(now time.Duration) []Output { return h.m.Event(now, event) })
	}
}

// limit makes the data plane report that an SA is used up.
func (h *host) limit(peer string, sa *ipsec.SA) {
	if h.down || sa == nil {
		return
	}
	h.former[sa.SPI] = true
	h.step(func(now time.Duration) []Output {
		return h.m.Event(now, ipsec.Event{Kind: ipsec.SPILimit, Peer: peer, SPI: sa.SPI})
	})
}

func (h *host) status(peer *host) PeerStatus {
	for _, s := range h.m.Status() {
		if s.HostID == peer.id {
			return s
		}
	}
	return PeerStatus{}
}
