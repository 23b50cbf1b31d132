package xfrm

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// load is datagrams from one container to another and back, as many as get through: each that is back sends the next.
type load struct {
	conn *net.UDPConn
	to   netip.AddrPort

	mu      sync.Mutex
	sent    uint64
	away    map[uint64]bool // sent, and not back
	twice   int             // came back once more
	stopped bool
}

// burden starts a load with so many datagrams on their way.
func burden(t testing.TB, from, to *host, window int) *load {
	t.Helper()
	far := to.udp(9)
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
	l := &load{conn: from.udp(0), to: netip.AddrPortFrom(to.container, 9), away: map[uint64]bool{}}
	go func() {
		buf := make([]byte, 2000)
		for {
			if _, err := l.conn.Read(buf); err != nil {
				return
			}
			l.back(binary.BigEndian.Uint64(buf))
			l.send()
		}
	}()
	for range window {
		l.send()
	}
	return l
}

// udp opens a socket in the container until the test ends; port 0: any.
func (h *host) udp(port int) (conn *net.UDPConn) {
	h.t.Helper()
	h.must(h.inside(h.cell, func() (err error) {
		conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: h.container.AsSlice(), Port: port})
		return err
	}))
	h.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (l *load) send() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	packet := make([]byte, 1000)
	binary.BigEndian.PutUint64(packet, l.sent)
	l.away[l.sent] = true
	l.sent++
	_, _ = l.conn.WriteToUDPAddrPort(packet, l.to)
}

func (l *load) back(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.away[n] {
		l.twice++
	}
	delete(l.away, n)
}

func (l *load) onTheirWay() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.away)
}

// finish ends the load, waits for what is on its way, and says how many packets there were and how many of them were lost.
func (l *load) finish() (packets uint64, missing, twice int) {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); l.onTheirWay() > 0 && time.Now().Before(end); {
		<-tick.C
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return 2 * l.sent, len(l.away), l.twice
}

// A thousand rekeys in a row under full load lose no packet, nor deliver one twice: between kernel planes, and from the userspace
// plane to a kernel's and back. Emulated, that takes a quarter of an hour: `scripts/lab rekeys`.
func TestXfrmThousandRekeysUnderLoad(t *testing.T) {
	t.Run("kernel", func(t *testing.T) { rekeysUnderLoad(t, 1000, false) })
	t.Run("mixed", func(t *testing.T) { rekeysUnderLoad(t, 1000, true) })
}

func TestKernelRekeysUnderLoad(t *testing.T) { rekeysUnderLoad(t, 20, false) }

func rekeysUnderLoad(t *testing.T, rekeys int, userspace bool) {
	a, b := unstarted(t, "a"), unstarted(t, "b")
	a.meet(b)
	a.userspace = userspace
	a.start()
	b.start()
	k := key(a, b, usual, 0x1000)
	eventually(t, "an answer", func() bool { return a.ping(b, 1, "1") == 1 })
	l := burden(t, a, b, 32)
	began := time.Now()
	for range rekeys {
		k.rekey()
		spi := stateKey{b.addr.Addr(), k.current() + 1}
		eventually(t, "a packet on the new SA", func() bool {
			c, err := b.plane.(*Plane).kernel.counters([]stateKey{spi})
			return err == nil && c[spi].Packets > 0
		})
	}
	took := time.Since(began)
	packets, missing, twice := l.finish()
	t.Logf("figure: %d rekeys in %.0f s under %d packets, %d lost, %d twice", rekeys, took.Seconds(), packets, missing, twice)
	lost(t, int(packets), int(packets)-missing, a, b)
	if twice > 0 {
		t.Errorf("%d came back twice", twice)
	}
}
