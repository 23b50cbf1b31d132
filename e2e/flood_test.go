package e2e

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// TestFlood: forged handshakes, as many as the machine can send, from invented addresses to the founder's real socket. What a
// tunnel of it carries meanwhile is not lost, but for what does not fit its socket, and a new host meets it.
func TestFlood(t *testing.T) {
	s := special(t, testnet.Options{Hosts: 3})
	ctx := t.Context()
	founder, peer, late := s.Hosts[0], s.Hosts[1], s.Hosts[2]
	startAgent(t, founder)
	tokens := make([]string, 2)
	for i := range tokens {
		var err error
		if tokens[i], err = founder.Token(ctx); err != nil {
			t.Fatal(err)
		}
	}
	startAgent(t, peer, "JOIN="+tokens[0])
	expect(t, founder, peer, "up", "")
	expect(t, peer, founder, "up", "")
	var status control.Status
	if err := founder.MeshsecJSON(ctx, &status, "status"); err != nil {
		t.Fatal(err)
	}
	id, _ := loot(t, founder)
	public, err := id.Public()
	if err != nil {
		t.Fatal(err)
	}
	flood := newFlood(t, s.Outside, founder, public[:])
	before := overflows(t, founder) + overflows(t, peer)
	began := time.Now()
	go flood.run()
	t.Cleanup(flood.end)
	type result struct {
		out string
		err error
	}
	pinged := make(chan result, 1)
	go func() {
		out, err := peer.RunRouter(ctx, "ping", "-q", "-i", "0.01", "-c", "1000", "-W", "5", status.Router.String())
		pinged <- result{out, err}
	}()
	startAgent(t, late, "JOIN="+tokens[1])
	expect(t, late, founder, "up", "")
	expect(t, founder, late, "up", "")
	met := time.Since(began)
	r := <-pinged
	flood.end()
	sent, took := flood.sent.Load(), time.Since(began)
	lost := missing(t, r.out)
	full := overflows(t, founder) + overflows(t, peer) - before
	if err := founder.MeshsecJSON(ctx, &status, "status"); err != nil {
		t.Fatal(err)
	}
	t.Logf("figure: %d forged handshakes in %v, %.0f a second; a new host was up %v after its start, with the agent's; %d of 1000 packets lost, %d did not fit a socket; drops %v",
		sent, took.Round(time.Millisecond), float64(sent)/took.Seconds(), met.Round(time.Millisecond), lost, full, status.Drops)
	if lost > full {
		t.Errorf("%d of 1000 packets lost, and only %d did not fit a socket: %s (%v)", lost, full, r.out, r.err)
	}
	if status.Drops["handshake-load"] == 0 && status.Drops["handshake-mac"] == 0 {
		t.Errorf("the flood did not get there: %v", status.Drops)
	}
	expect(t, founder, peer, "up", "")
}

// missing reads how many of ping's 1000 have not come back.
func missing(t *testing.T, out string) uint64 {
	t.Helper()
	_, rest, _ := strings.Cut(out, "packets transmitted, ")
	word, _, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil || n > 1000 {
		t.Fatalf("ping said %q", out)
	}
	return 1000 - n
}

// overflows counts the datagrams that found a host's sockets full, and those that its kernel dropped before.
func overflows(t *testing.T, h *testnet.Host) uint64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/snmp", h.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	var names, values []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[0] == "Udp:" {
			names, values = values, f
		}
	}
	for i, name := range names {
		if name == "RcvbufErrors" {
			n, err := strconv.ParseUint(values[i], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no RcvbufErrors in %q", text)
	return 0
}

// flood sends forged inits from addresses of the underlay that nobody has.
type flood struct {
	fd      int
	to      unix.SockaddrInet4
	packets [][]byte // IPv4, UDP and message
	sent    atomic.Uint64
	stop    atomic.Bool
	done    chan struct{}
}

func newFlood(t *testing.T, from, to *testnet.Host, public []byte) *flood {
	t.Helper()
	f := &flood{to: unix.SockaddrInet4{Addr: to.Addr.As4()}, done: make(chan struct{})}
	err := from.Enter(func() (err error) {
		f.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(f.fd) })
	key := sha256.Sum256(append([]byte("meshsec mac"), public...))
	const front = 20 + 8 + 4 // IPv4, UDP, non-ESP marker
	for n := range 4096 {
		p := make([]byte, front+1200)
		_, _ = rand.Read(p[front:])
		msg := p[front:]
		copy(msg, []byte{1, 2, 0, 2})          // first part of an init
		binary.BigEndian.PutUint32(msg[8:], 0) // no receiver
		mac := hmac.New(sha256.New, key[:])    // known to whoever has seen the host's fact
		mac.Write(msg[:12])
		mac.Write(msg[28:])
		if copy(msg[12:28], mac.Sum(nil)); n%4 == 3 {
			msg[12] ^= 1 // and some from those who have not
		}
		copy(p, []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, unix.IPPROTO_UDP})
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		source := to.Addr.As4()
		source[3] = byte(100 + n%100)
		copy(p[12:], source[:])
		copy(p[16:], f.to.Addr[:])
		binary.BigEndian.PutUint16(p[20:], uint16(1024+n))
		binary.BigEndian.PutUint16(p[22:], 4500)
		binary.BigEndian.PutUint16(p[24:], uint16(len(p)-20))
		f.packets = append(f.packets, p)
	}
	return f
}

func (f *flood) run() {
	defer close(f.done)
	for i := 0; !f.stop.Load(); i++ {
		if unix.Sendto(f.fd, f.packets[i%len(f.packets)], 0, &f.to) == nil {
			f.sent.Add(1)
		}
	}
}

func (f *flood) end() {
	f.stop.Store(true)
	<-f.done
}
