package quota

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

var a, b = netip.MustParseAddr("10.42.0.2"), netip.MustParseAddr("10.42.0.3")

func TestRates(t *testing.T) {
	r, now := NewRates(10), time.Unix(1e9, 0)
	count := func(addr netip.Addr) (n int) {
		for n < 1000 && r.Allow(addr, now) {
			n++
		}
		return n
	}
	if n := count(a); n != 20 {
		t.Errorf("%d at once", n)
	}
	if n := count(b); n != 20 {
		t.Errorf("another one: %d at once", n)
	}
	now = now.Add(500 * time.Millisecond)
	if n := count(a); n != 5 {
		t.Errorf("%d half a second later", n)
	}
	now = now.Add(-time.Hour) // a clock that was set back gives and takes nothing
	if n := count(a); n != 0 {
		t.Errorf("%d an hour before", n)
	}
	now = now.Add(2 * time.Hour)
	if n := count(a); n != 20 {
		t.Errorf("%d after a long time", n)
	}
}

func TestRatesForgetTheQuiet(t *testing.T) {
	r, now := NewRates(10), time.Unix(1e9, 0)
	addr := netip.MustParseAddr("10.0.0.0")
	for range 3 * maxBuckets {
		addr = addr.Next()
		if !r.Allow(addr, now) {
			t.Fatal("a new one is refused")
		}
		now = now.Add(time.Millisecond)
	}
	if len(r.buckets) > maxBuckets {
		t.Errorf("%d are remembered", len(r.buckets))
	}
}

func TestPlaces(t *testing.T) {
	p := NewPlaces(3, 2)
	for i, c := range []struct {
		addr netip.Addr
		want bool
	}{{a, true}, {a, true}, {a, false}, {b, true}, {b, false}} { // of each two, of all three
		if got := p.Enter(c.addr); got != c.want {
			t.Errorf("place %d: %v", i, got)
		}
	}
	if p.Taken() != 3 {
		t.Errorf("%d taken", p.Taken())
	}
	p.Leave(a)
	if !p.Enter(b) || p.Enter(a) {
		t.Error("a place that was left is not free")
	}
}

// TestListener: connections beyond the places are closed, and a place is free again when its connection ends, however often
// it is closed.
func TestListener(t *testing.T) {
	inner, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, refused := NewPlaces(10, 1), make(chan struct{}, 10)
	l := p.Listener(inner, func() { refused <- struct{}{} })
	defer l.Close()
	accepted := make(chan net.Conn, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp4", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	first := dial()
	served := <-accepted
	second := dial()
	<-refused
	_ = second.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := second.Read(make([]byte, 1)); err != io.EOF && err == nil {
		t.Error("the second connection is open")
	}
	_ = first.Close()
	_, _ = served.Close(), served.Close()
	if p.Taken() != 0 {
		t.Errorf("%d places taken", p.Taken())
	}
	dial()
	<-accepted
}

// TestCharges: what costs more than one question is paid with later ones, of that address only, but with no more than those
// of a second; who owes is not forgotten.
func TestCharges(t *testing.T) {
	r, now := NewRates(10), time.Unix(1e9, 0)
	count := func(addr netip.Addr) (n int) {
		for n < 1000 && r.Allow(addr, now) {
			n++
		}
		return n
	}
	r.Charge(a, 100) // nobody yet
	if !r.Allow(a, now) {
		t.Error("refused at once")
	}
	if r.Charge(a, 9); count(a) != 10 || count(b) != 20 {
		t.Error("not what was charged")
	}
	r.Charge(a, 1000)
	r.mu.Lock()
	r.sweep(now.Add(2900 * time.Millisecond))
	r.mu.Unlock()
	now = now.Add(2 * time.Second)
	if n := count(a); n != 10 {
		t.Errorf("%d, two seconds after a large debt", n)
	}
}

func TestWhatIsOwedIsPaidInFull(t *testing.T) {
	r, now := NewRates(10), time.Unix(1e9, 0)
	r.Owe(a, 50, now)
	if d := r.Debt(a, now); d != 3*time.Second || r.Allow(a, now) || r.Debt(b, now) != 0 {
		t.Errorf("%v", d)
	}
	r.sweep(now.Add(4 * time.Second)) // does not forget who has not the whole of it again
	if now = now.Add(3 * time.Second); r.Debt(a, now) != 0 || r.Allow(a, now) {
		t.Error("allowed before it is made up for")
	}
	if !r.Allow(a, now.Add(100*time.Millisecond)) {
		t.Error("not allowed any more")
	}
	if r.sweep(now.Add(time.Minute)); len(r.buckets) != 0 {
		t.Errorf("%d are remembered", len(r.buckets))
	}
}
