package tun_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/ipsec/handshake"
)

// shaken is a host of the lab whose SAs come from handshakes.
type shaken struct {
	*host
	loop   *handshake.Loop
	public [32]byte
}

// shake runs handshakes between the hosts until the test ends, and waits until both are up.
func shake(a, b *host) (x, y *shaken) {
	x, y = newShaken(a, b), newShaken(b, a)
	x.loop.SetPeers([]handshake.Peer{{HostID: b.name, Public: y.public, Remote: b.addr}})
	y.loop.SetPeers([]handshake.Peer{{HostID: a.name, Public: x.public, Remote: a.addr}})
	until(a.t, "both up", func() bool { return x.up() && y.up() })
	return x, y
}

func newShaken(h, other *host) *shaken {
	var secret handshake.Secret
	_, _ = rand.Read(secret.Bytes[:])
	m, err := handshake.NewMachine(handshake.Identity{HostID: h.name, Environment: "lab", Private: secret}, rand.Reader,
		handshake.Options{Start: time.Now()})
	h.must(err)
	log := logrus.New()
	log.SetOutput(io.Discard)
	s := &shaken{host: h, public: secret.Public()}
	install := func() error {
		c, set := h.config(other, 0, 0), s.loop.SAs()[other.name]
		c.Peers[0].In, c.Peers[0].Out = set.In, set.Out
		if set.Remote.IsValid() {
			c.Peers[0].Remote = set.Remote
		}
		return h.plane.Set(context.Background(), c)
	}
	s.loop = handshake.NewLoop(m, h.socket.SendHandshake, install, logrus.NewEntry(log))
	ping, err := h.router.NewPinger(h.address)
	h.must(err)
	s.loop.OnProbe(func(string) { _ = ping.Send(other.address, 1, 1, 64) })
	h.socket.HandleHandshake(s.loop.Deliver)
	ctx, cancel := context.WithCancel(context.Background())
	var runs sync.WaitGroup
	runs.Go(func() { _ = s.loop.Run(ctx) })
	runs.Go(func() {
		for e := range h.plane.Events() {
			s.loop.Event(e)
		}
	})
	h.t.Cleanup(func() {
		cancel()
		h.stop()
		runs.Wait()
		_ = ping.Close()
	})
	return s
}

func (s *shaken) status() handshake.PeerStatus { return s.loop.Status()[0] }

func (s *shaken) up() bool {
	all := s.loop.Status()
	return len(all) == 1 && all[0].State == handshake.StateUp
}

// udp opens a socket in the container.
func (h *host) udp(port uint16) (c *net.UDPConn) {
	h.t.Helper()
	h.must(h.inside(h.cell, func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.container, port)))
		return err
	}))
	h.t.Cleanup(func() { _ = c.Close() })
	return c
}

// echoes keeps as many packets on their way as the window has, without a pause, and says when each has come back.
type echoes struct {
	conn     *net.UDPConn
	to       netip.AddrPort
	mu       sync.Mutex
	sent     uint64
	returned map[uint64]bool // above low
	low      uint64          // all below have come back
	stopped  bool
}

func (e *echoes) send() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return
	}
	packet := make([]byte, 1000)
	binary.BigEndian.PutUint64(packet, e.sent)
	if _, err := e.conn.WriteToUDPAddrPort(packet, e.to); err == nil {
		e.sent++
	}
}

func (e *echoes) run() {
	buf := make([]byte, 2000)
	for {
		if _, err := e.conn.Read(buf); err != nil {
			return
		}
		e.mu.Lock()
		e.returned[binary.BigEndian.Uint64(buf)] = true
		for e.returned[e.low] {
			delete(e.returned, e.low)
			e.low++
		}
		e.mu.Unlock()
		e.send()
	}
}

// stop ends the sending and says how many were sent, once all have come back or patience is over, and how many are missing.
func (e *echoes) stop() (sent, missing uint64) {
	e.mu.Lock()
	e.stopped = true
	e.mu.Unlock()
	for deadline := time.Now().Add(patience); ; {
		e.mu.Lock()
		sent, missing = e.sent, e.sent-e.low-uint64(len(e.returned))
		e.mu.Unlock()
		if missing == 0 || time.Now().After(deadline) {
			return sent, missing
		}
	}
}

// A thousand rekeys in a row under full load lose no packet.
func TestThousandRekeysUnderLoad(t *testing.T) {
	rekeys := 1000
	if testing.Short() {
		rekeys = 100
	}
	a, b := newLab(t)
	x, y := shake(a, b)
	far := b.udp(9)
	go func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := far.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = far.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	a.ping(b.container) // the neighbours are known
	load := &echoes{conn: a.udp(0), to: netip.AddrPortFrom(b.container, 9), returned: map[uint64]bool{}}
	go load.run()
	for range 64 {
		load.send()
	}
	began := time.Now()
	for range rekeys {
		old := x.status().Out
		// Both report, as with equal traffic in both directions: only the one whose turn it is begins.
		y.loop.Event(ipsec.Event{Kind: ipsec.SPISoftLimit, Peer: a.name, SPI: y.status().Out})
		x.loop.Event(ipsec.Event{Kind: ipsec.SPISoftLimit, Peer: b.name, SPI: old})
		until(t, "a new pair", func() bool {
			s, r := x.status(), y.status()
			return s.Out != old && s.Out == r.In && s.In == r.Out && x.up() && y.up()
		})
	}
	took := time.Since(began)
	sent, missing := load.stop()
	t.Logf("%d rekeys in %v under %d packets, %d lost", rekeys, took.Round(time.Millisecond), 2*sent, missing)
	if missing != 0 {
		pa, da := a.stats()
		pb, db := b.stats()
		t.Errorf("%d of %d lost; drops %v %v %v %v", missing, sent, pa.Drops, da, pb.Drops, db)
	}
}

// A NAT comes between, and later gives the host another port: the tunnel stays, without a handshake.
func TestNATPortChanges(t *testing.T) {
	a, b := newLab(t)
	x, y := shake(a, b)
	a.ping(b.container)
	out := x.status().Out
	for _, port := range []string{"5001", "5002"} {
		// Not a NAT of connections, which would keep the port of one that it knows.
		for _, rule := range []string{
			"add table ip lab", "delete table ip lab", "add table ip lab",
			"add chain ip lab out { type filter hook output priority -300 ; }",
			"add chain ip lab in { type filter hook prerouting priority -300 ; }",
			"add rule ip lab out udp sport 4500 udp sport set " + port,
			"add rule ip lab in udp dport " + port + " udp dport set 4500",
		} {
			ip(t, "netns exec "+a.ns+" nft "+rule)
		}
		a.ping(b.container)
		b.ping(a.container)
		if at := y.status().Remote; at.Addr() != a.addr.Addr() || fmt.Sprint(at.Port()) != port {
			t.Errorf("b has a at %v, not at port %s", at, port)
		}
	}
	if x.status().Out != out {
		t.Error("a handshake was needed")
	}
}
