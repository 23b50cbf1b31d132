package link

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netns"
)

const perSecond = 20

// newLimited is newServices with a small limit, and both containers able to ask.
func newLimited(t *testing.T) *lan {
	l := newServices(t, perSecond)
	l.onLink(l.ca)
	l.onLink(l.cb)
	return l
}

// drops is the counter for a reason.
func (l *lan) drops(reason string) uint64 {
	l.t.Helper()
	return must(l.r.Drops())(l.t)[reason]
}

// connects tells whether a connection to TCP 80 of the services is made soon, and leaves it open.
func (l *lan) connects(ns netns.NsHandle) (c net.Conn) {
	l.t.Helper()
	_ = inNamespace(ns, func() (err error) {
		ctx, cancel := context.WithTimeout(l.t.Context(), silence)
		defer cancel()
		if c, err = (&net.Dialer{}).DialContext(ctx, "tcp4", "169.254.169.250:80"); err != nil {
			c = nil
		}
		return err
	})
	if c != nil {
		l.t.Cleanup(func() { _ = c.Close() })
	}
	return c
}

// TestFloodOfDatagrams: what one container sends beyond its rate does not reach the socket and is counted; another one is answered.
func TestFloodOfDatagrams(t *testing.T) {
	l := newLimited(t)
	heard := l.listen(l.r.ns, "169.254.169.250:53")
	from, other, to := l.listen(l.ca, "10.42.64.2:0"), l.listen(l.cb, "10.43.64.2:0"), netip.MustParseAddrPort("169.254.169.250:53")
	eventually(t, "the first datagram arrives", func() bool { // the first packets may find no neighbour
		_, _ = from.WriteToUDPAddrPort([]byte("first"), to)
		return receives(t, heard, "first", silence)
	})
	before := l.drops("flood-udp-53")
	began, sent := time.Now(), 1000
	for range sent {
		_ = must(from.WriteToUDPAddrPort([]byte("flood"), to))(t)
	}
	eventually(t, "another container is heard", func() bool {
		_, _ = other.WriteToUDPAddrPort([]byte("other"), to)
		return receives(t, heard, "other", silence)
	})
	through := uint64(sent) - (l.drops("flood-udp-53") - before)
	if most := 2*perSecond + perSecond*(time.Since(began).Seconds()+1); float64(through) > most || through == 0 {
		t.Errorf("%d of %d got through, at most %.0f may", through, sent, most)
	}
	eventually(t, "who has stopped is heard again", func() bool {
		_, _ = from.WriteToUDPAddrPort([]byte("later"), to)
		return receives(t, heard, "later", silence)
	})
}

// TestFloodOfConnections: SYNs beyond the rate are dropped and counted; what is open goes on, and another container gets in.
func TestFloodOfConnections(t *testing.T) {
	l := newLimited(t)
	var listener net.Listener
	ok(t, l.r.Do(func() (err error) {
		listener, err = net.Listen("tcp4", "169.254.169.250:80")
		return err
	}))
	t.Cleanup(func() { _ = listener.Close() })
	served := make(chan net.Conn, 1)
	go func() {
		for first := true; ; first = false {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			if first {
				served <- c
			}
		}
	}()
	var open net.Conn
	eventually(t, "a connection", func() bool { open = l.connects(l.ca); return open != nil })
	server := <-served
	eventually(t, "a SYN is dropped", func() bool { return l.connects(l.ca) == nil && l.drops("flood-tcp-80") > 0 })
	for range 5 * perSecond { // more segments than SYNs are allowed
		if _, err := open.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		_ = server.SetReadDeadline(time.Now().Add(patience))
		if _, err := server.Read(make([]byte, 1)); err != nil {
			t.Fatal("an open connection is held up: ", err)
		}
	}
	if l.connects(l.cb) == nil {
		t.Error("another container is held up")
	}
	if n := l.drops("flood-udp-53"); n != 0 {
		t.Errorf("%d datagrams were dropped", n)
	}
}

// TestFloodsAreCountedOn: a flood does not make the filter look touched, and its count survives other networks and another agent.
func TestFloodsAreCountedOn(t *testing.T) {
	l := newLimited(t)
	c, to := l.listen(l.ca, "10.42.64.2:0"), netip.MustParseAddrPort("169.254.169.250:53")
	eventually(t, "a drop is counted", func() bool {
		for range 3 * perSecond {
			_, _ = c.WriteToUDPAddrPort([]byte("flood"), to)
		}
		return l.drops("flood-udp-53") > 0
	})
	count := l.drops("flood-udp-53")
	l.quiet("the same filter", func() error { return l.r.SetFilter(l.filter()) })
	fewer := l.filter()
	fewer.Networks = fewer.Networks[:1]
	ok(t, l.r.SetFilter(fewer))
	if got := l.drops("flood-udp-53"); got < count {
		t.Errorf("%d, was %d", got, count)
	}
	again := l.open(WithServices(servicesOf(perSecond)...))
	ok(t, again.SetFilter(l.filter()))
	if got := must(again.Drops())(t)["flood-udp-53"]; got < count {
		t.Errorf("%d after a restart, was %d", got, count)
	}
	// Without services there is nothing left of it.
	ok(t, l.open().SetFilter(l.filter()))
	nft := must(nftables.New(nftables.WithNetNSFd(int(l.r.ns))))(t)
	if sets := must(nft.GetSets(&nftables.Table{Name: NftTable, Family: nftables.TableFamilyINet}))(t); len(sets) != 0 {
		t.Errorf("sets: %v", sets)
	}
}

// TestLimitsAreBounded: as the kernel has them, the sets of who asks end, and so do their elements.
func TestLimitsAreBounded(t *testing.T) {
	l := newLimited(t)
	nft := must(nftables.New(nftables.WithNetNSFd(int(l.r.ns))))(t)
	sets := must(nft.GetSets(&nftables.Table{Name: NftTable, Family: nftables.TableFamilyINet}))(t)
	if len(sets) != 2 {
		t.Errorf("%d sets", len(sets))
	}
	for _, s := range sets {
		if s.Size != maxSources || s.Timeout != sourceTimeout || !s.Dynamic {
			t.Errorf("%s: %d elements at most, for %s", s.Name, s.Size, s.Timeout)
		}
	}
}
