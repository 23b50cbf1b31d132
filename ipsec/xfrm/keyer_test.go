package xfrm

import (
	"sync"

	"github.com/meshsec/meshsec/ipsec"
)

// keyer stands for the handshake between two hosts: when a plane says that an SA can't be used any more, both get new ones.
type keyer struct {
	a, b  *host
	pair  pair
	mu    sync.Mutex
	next  ipsec.SPI
	knows map[*host]ipsec.SPI // SAs below are unknown to the host
	soft  int                 // rekeys because an SA had carried enough
}

// key joins the hosts and looks after them until the test ends.
func key(a, b *host, p pair, base ipsec.SPI) *keyer {
	k := &keyer{a: a, b: b, pair: p, next: base, knows: map[*host]ipsec.SPI{a: base, b: base}}
	k.rekey()
	for _, h := range []*host{a, b} {
		k.follow(h)
	}
	return k
}

// follow takes care of the events of a host's present plane.
func (k *keyer) follow(h *host) {
	events := h.plane.Events()
	go func() {
		for e := range events {
			k.heed(h, e)
		}
	}()
}

func (k *keyer) heed(h *host, e ipsec.Event) {
	switch {
	case e.Kind == ipsec.PeerMoved:
		k.mu.Lock()
		k.a.other(k.b, h).seen = e.Remote
		k.mu.Unlock()
		k.rekey()
	case e.SPI < k.current():
	case e.Kind == ipsec.SPISoftLimit:
		k.mu.Lock()
		k.soft++
		k.mu.Unlock()
		k.rekey()
	case e.Kind == ipsec.SPILimit:
		k.rekey()
	}
}

// other is which of h and b is not than.
func (h *host) other(b, than *host) *host {
	if h == than {
		return b
	}
	return h
}

// forget is what a host's restart does.
func (k *keyer) forget(h *host) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.knows[h] = k.next
}

func (k *keyer) current() ipsec.SPI {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.next - 2
}

// graceSAs is how many inbound SAs stay behind the newest: the handshake keeps them for half a minute, and a processor of
// an emulated machine may stand still with a packet for long.
const graceSAs = 30

// rekey as the handshake does: the responder takes the new inbound SA, then the initiator both, then the responder turns to
// its outbound one; the SAs before stay for what is on its way.
func (k *keyer) rekey() {
	k.mu.Lock()
	defer k.mu.Unlock()
	base := k.next
	k.next += 2
	set := func(h, other *host, in, out ipsec.SPI) {
		c := h.config(other, k.pair, in, out)
		p := &c.Peers[0]
		for old := in - 2; old >= k.knows[h] && len(p.In) <= graceSAs; old -= 2 {
			p.In = append(p.In, sa(old, k.pair.cipher))
		}
		if err := h.plane.Set(h.t.Context(), c); err != nil && h.t.Context().Err() == nil {
			h.t.Logf("host %s: %v", h.name, err)
		}
	}
	use := base - 2
	if use < k.knows[k.b] {
		use = base
	}
	set(k.b, k.a, base+1, use)
	set(k.a, k.b, base, base+1)
	set(k.b, k.a, base+1, base)
}
