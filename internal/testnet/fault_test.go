package testnet_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/internal/testnet"
)

// TestCutIsOneWay: what goes the one way is lost until it is mended, what goes the other way is not, nor other protocols.
func TestCutIsOneWay(t *testing.T) {
	c := cluster(t, testnet.Options{Hosts: 2})
	a, b := c.Hosts[0], c.Hosts[1]
	const port = 9999
	toA, toB := listenOn(t, a, port), listenOn(t, b, port)
	// Neighbours are known from now on: a cut stops ARP, too.
	if _, err := a.Run(t.Context(), "ping", "-c1", "-W2", b.Addr.String()); err != nil {
		t.Fatal(err)
	}
	for _, proto := range []string{"", "udp dport 9999"} {
		if err := c.Cut(t.Context(), a, b, proto); err != nil {
			t.Fatal(err)
		}
		sendTo(t, toA, b.Addr, port, "lost")
		sendTo(t, toB, a.Addr, port, "back")
		heard(t, toA, "back")
		if err := c.Mend(t.Context(), a, b, proto); err != nil {
			t.Fatal(err)
		}
		sendTo(t, toA, b.Addr, port, "there")
		heard(t, toB, "there") // and not what was sent before
	}
	if err := c.Cut(t.Context(), a, b, "tcp dport 2379"); err != nil {
		t.Fatal(err)
	}
	sendTo(t, toA, b.Addr, port, "another protocol")
	heard(t, toB, "another protocol")
}

// TestSplit: groups do not hear of each other, those of one group do, and so does a host of no group.
func TestSplit(t *testing.T) {
	c := cluster(t, testnet.Options{Hosts: 4})
	const port = 9999
	var conns []*net.UDPConn
	for _, h := range c.Hosts {
		conns = append(conns, listenOn(t, h, port))
	}
	send := func(from, to int, text string) { sendTo(t, conns[from], c.Hosts[to].Addr, port, text) }
	for from := range c.Hosts { // neighbours are known from now on
		for to := range c.Hosts {
			if from != to {
				send(from, to, "hello")
				heard(t, conns[to], "hello")
			}
		}
	}
	if err := c.Split(t.Context(), c.Hosts[:2], c.Hosts[2:3]); err != nil {
		t.Fatal(err)
	}
	send(0, 2, "lost")
	send(2, 1, "lost")
	send(0, 1, "of one group")
	heard(t, conns[1], "of one group")
	send(3, 2, "of no group")
	heard(t, conns[2], "of no group")
	if err := c.Split(t.Context()); err != nil {
		t.Fatal(err)
	}
	send(0, 2, "joined")
	heard(t, conns[2], "joined") // and not what was sent before
}

func listenOn(t *testing.T, h *testnet.Host, port int) (conn *net.UDPConn) {
	t.Helper()
	err := h.Enter(func() (err error) {
		conn, err = net.ListenUDP("udp4", &net.UDPAddr{Port: port})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func sendTo(t *testing.T, conn *net.UDPConn, to netip.Addr, port uint16, text string) {
	t.Helper()
	if _, err := conn.WriteToUDPAddrPort([]byte(text), netip.AddrPortFrom(to, port)); err != nil {
		t.Fatal(err)
	}
}

func heard(t *testing.T, conn *net.UDPConn, want string) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if n, err := conn.Read(b); err != nil || string(b[:n]) != want {
		t.Fatalf("%q, %v; want %q", b[:n], err, want)
	}
}

// TestPausedProcessesGoOnAndEnd: again and again, for what stands between this program and the process is stopped along with it.
func TestPausedProcessesGoOnAndEnd(t *testing.T) {
	c := cluster(t, testnet.Options{Hosts: 1})
	p, err := c.Hosts[0].Start("loop", nil, "sh", "-c", "while sleep 0.01; do echo x; done")
	if err != nil {
		t.Fatal(err)
	}
	printsMore := func() error {
		from := len(p.Output())
		return testnet.Until(t.Context(), 10*time.Second, func() error {
			if len(p.Output()) <= from {
				return errors.New("it prints nothing")
			}
			return nil
		})
	}
	for range 20 {
		if err := printsMore(); err != nil {
			t.Fatal(err)
		}
		if err := p.Pause(); err != nil {
			t.Fatal(err)
		}
		if err := p.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Stop(t.Context(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if p, err = c.Hosts[0].Start("sleep", nil, "sleep", "1000"); err != nil {
		t.Fatal(err)
	}
	if err := testnet.Until(t.Context(), 10*time.Second, p.Pause); err != nil { // as soon as it is there
		t.Fatal(err)
	}
	p.Kill()
	<-p.Done()
}
