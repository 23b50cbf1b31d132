package xfrm

import (
	"context"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
)

// event is what the plane has to tell.
func event(t *testing.T, p *Plane) ipsec.Event {
	t.Helper()
	select {
	case e := <-p.Events():
		return e
	default:
		t.Fatal("no event")
		return ipsec.Event{}
	}
}

// keyed is a plane with one peer that has SAs, firstSPI in and the next out, and whose kernel's notices are heard.
func keyed(t *testing.T) (*Plane, *fakeKernel, *mesh) {
	p, k := newFake(t)
	m := newMesh(k, 0)
	m.rekey(0)
	m.settle(p)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.kernel.notices(ctx, p.heed) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return p, k, m
}

// tell has the kernel say something, and waits until it was heard.
func (k *fakeKernel) tell(n notice) {
	k.told <- n
	k.told <- notice{} // which concerns nobody
}

var (
	inKey  = stateKey{us, firstSPI}
	outKey = stateKey{peerAddr(0), firstSPI + 1}
)

func nothing(t *testing.T, p *Plane, why string) {
	t.Helper()
	select {
	case e := <-p.Events():
		t.Errorf("%s: event %v", why, e)
	default:
	}
}

// The counters tell, also when the kernel's own word was lost: of each SA's soft limit once, of its hard one again and again.
func TestLimitsAreReported(t *testing.T) {
	p, k, m := keyed(t)
	hard := usualLife.HardPackets - usualLife.HardPackets/hardMargin
	for _, c := range []struct {
		key  stateKey
		c    counter
		want ipsec.Event
	}{
		{outKey, counter{Packets: 1 << 30}, ipsec.Event{}},
		{outKey, counter{Packets: ipsec.SoftPackets}, ipsec.Event{Kind: ipsec.SPISoftLimit}},
		{outKey, counter{Packets: hard - 1}, ipsec.Event{}},
		{outKey, counter{Packets: hard}, ipsec.Event{Kind: ipsec.SPILimit}},
		{inKey, counter{Packets: 1}, ipsec.Event{Kind: ipsec.SPIConfirmed}},
		{inKey, counter{Packets: 5, Bytes: ipsec.SoftBytes}, ipsec.Event{Kind: ipsec.SPISoftLimit}},
		{inKey, counter{Packets: 1 << 33}, ipsec.Event{}},
	} {
		k.inventory.counters[c.key] = c.c
		if err := p.Set(t.Context(), m.config()); err != nil {
			t.Fatal(err)
		}
		if c.want.Kind == 0 {
			nothing(t, p, "too early")
			continue
		}
		if e := event(t, p); e.Kind != c.want.Kind || e.Peer != peerName(0) || e.SPI != c.key.SPI {
			t.Errorf("%v: event %v", c.c, e)
		}
	}
	p.now = func() time.Time { return time.Now().Add(tellAgain) }
	if err := p.Set(t.Context(), m.config()); err != nil {
		t.Fatal(err)
	}
	if e := event(t, p); e.Kind != ipsec.SPILimit || e.SPI != outKey.SPI {
		t.Errorf("event %v", e)
	}
}

func TestKernelsWordOnLimits(t *testing.T) {
	p, k, _ := keyed(t)
	id := k.States[outKey].IfID
	k.tell(notice{key: outKey, reqid: id, what: softLimit})
	if e := event(t, p); e.Kind != ipsec.SPISoftLimit || e.Peer != peerName(0) || e.SPI != outKey.SPI {
		t.Errorf("event %v", e)
	}
	k.tell(notice{key: outKey, reqid: id, what: softLimit})
	nothing(t, p, "twice")
	k.tell(notice{key: outKey, reqid: id, what: hardLimit})
	if e := event(t, p); e != (ipsec.Event{Kind: ipsec.SPILimit, Peer: peerName(0), SPI: outKey.SPI}) {
		t.Errorf("event %v", e)
	}
	// What is not the config's is nobody's business.
	k.tell(notice{key: stateKey{us, 1}, reqid: id, what: hardLimit})
	k.tell(notice{key: outKey, reqid: id + 1, what: softLimit})
	nothing(t, p, "others' SAs")
}

func TestPeerThatMoves(t *testing.T) {
	p, k, m := keyed(t)
	id := k.States[inKey].IfID
	away := netip.MustParseAddrPort("198.51.100.7:1027")
	moved := notice{key: inKey, reqid: id, what: peerMoved, from: away}
	k.tell(moved)
	if e := event(t, p); e != (ipsec.Event{Kind: ipsec.PeerMoved, Peer: peerName(0), SPI: inKey.SPI, Remote: away}) {
		t.Errorf("event %v", e)
	}
	k.tell(moved)
	nothing(t, p, "a packet later")
	p.mu.Lock()
	p.now = func() time.Time { return time.Now().Add(moveAgain) }
	p.mu.Unlock()
	k.tell(moved)
	event(t, p)
	// The handshake believes it: the inbound SA goes on, the outbound one can't.
	c := m.config()
	c.Peers[0].Remote = away
	if err := p.Set(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if e := event(t, p); e != (ipsec.Event{Kind: ipsec.SPILimit, Peer: peerName(0), SPI: outKey.SPI}) {
		t.Errorf("event %v", e)
	}
	nothing(t, p, "the inbound SA takes what comes from anywhere")
	if _, there := k.States[inKey]; !there {
		t.Error("the inbound SA is gone")
	}
	p.mu.Lock()
	p.now = func() time.Time { return time.Now().Add(time.Minute) }
	p.mu.Unlock()
	k.tell(moved)
	nothing(t, p, "from where the config has it")
}

func TestLifetimes(t *testing.T) {
	seen := map[uint64]bool{}
	for spi := ipsec.SPI(0x1000); spi < 0x1100; spi++ {
		l := usualLife.of(spi, true)
		if l.SoftPackets > ipsec.SoftPackets || l.SoftPackets < ipsec.SoftPackets/softJitter*(softJitter-1) ||
			l.SoftBytes > ipsec.SoftBytes || l.SoftBytes < ipsec.SoftBytes/softJitter*(softJitter-1) || l.HardPackets != 1<<32 {
			t.Errorf("%s: %+v", spi, l)
		}
		other := usualLife.of(spi, false)
		if other.SoftPackets != l.SoftPackets || other.SoftBytes != l.SoftBytes || other.HardPackets != 0 {
			t.Errorf("%s: %+v and %+v", spi, l, other)
		}
		seen[l.SoftPackets] = true
		if got := parseLifetime(l.encode()); got != l {
			t.Errorf("%+v came back as %+v", l, got)
		}
	}
	if len(seen) != 256 {
		t.Errorf("%d limits for 256 SAs", len(seen))
	}
	if l := (lifetime{}); l.soft(counter{Packets: 1 << 62, Bytes: 1 << 62}) || l.hard(counter{Packets: 1 << 62}) {
		t.Error("no limit was reached")
	}
}

func TestNotices(t *testing.T) {
	key := sa(1, ipsec.AES256GCM).Key
	k4, k6 := stateKey{us, 0x12345678}, stateKey{us6, 0xfffffffe}
	for _, k := range []stateKey{k4, k6} {
		src := peerAddr(1)
		if k == k6 {
			src = them6
		}
		body := state{Src: src, IfID: link.IfIDBase + 5, Cipher: ipsec.AES256GCM}.add(k, &key).Body[:nl.SizeofXfrmUsersaInfo]
		for hard, what := range []occurrence{softLimit, hardLimit} {
			b := append(append([]byte(nil), body...), byte(hard), 0, 0, 0, 0, 0, 0, 0)
			n, ok := parseNotice(nl.XFRM_MSG_EXPIRE, b)
			if !ok || n != (notice{key: k, reqid: link.IfIDBase + 5, what: what}) {
				t.Errorf("%+v %v", n, ok)
			}
			short(t, nl.XFRM_MSG_EXPIRE, b)
		}
		b := k.id()
		b = binary.NativeEndian.AppendUint32(b, link.IfIDBase+5)
		old, now := address(src), address(src)
		b = append(append(b, old[:]...), now[:]...)
		b = append(b, 0x11, 0x94, 0x04, 0x03)
		n, ok := parseNotice(nl.XFRM_MSG_MAPPING, b)
		if !ok || n != (notice{key: k, reqid: link.IfIDBase + 5, what: peerMoved, from: netip.AddrPortFrom(src, 1027)}) {
			t.Errorf("%+v %v", n, ok)
		}
		short(t, nl.XFRM_MSG_MAPPING, b)
	}
	if _, ok := parseNotice(nl.XFRM_MSG_NEWSA, make([]byte, 1024)); ok {
		t.Error("another message was taken for a notice")
	}
}

// short fails the test if a message that was cut is taken for a whole one.
func short(t *testing.T, kind uint16, b []byte) {
	t.Helper()
	for n := range b {
		if _, ok := parseNotice(kind, b[:n]); ok {
			t.Errorf("%d bytes of message %#x are enough", n, kind)
		}
	}
}
