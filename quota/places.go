package quota

import (
	"net"
	"net/netip"
	"sync"
)

// Places bounds how many things are under way at a time, of all addresses together and of each. It may be used concurrently.
type Places struct {
	all, each int

	mu    sync.Mutex
	taken int
	of    map[netip.Addr]int
}

// NewPlaces has so many places, of which each address may take so many.
func NewPlaces(all, each int) *Places {
	return &Places{all: all, each: each, of: map[netip.Addr]int{}}
}

// Enter takes a place, if there is one for the address; Leave gives it back.
func (p *Places) Enter(addr netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= p.all || p.of[addr] >= p.each {
		return false
	}
	p.taken++
	p.of[addr]++
	return true
}

// Leave gives a place back that Enter has taken.
func (p *Places) Leave(addr netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.of[addr]--; p.of[addr] == 0 {
		delete(p.of, addr)
	}
}

// Taken is how many places are taken.
func (p *Places) Taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

// Listener gives each connection of l a place until it is closed. Connections for which there is none are closed at once,
// and reported. Accept tries again, with pauses, after an error that is Passing.
func (p *Places) Listener(l net.Listener, refused func()) net.Listener {
	closed := make(chan struct{})
	return &listener{l, p, refused, closed, sync.OnceFunc(func() { close(closed) })}
}

type listener struct {
	net.Listener
	places  *Places
	refused func()
	closed  chan struct{}
	wake    func() // closes it
}

// Close implements net.Listener.
func (l *listener) Close() error {
	defer l.wake()
	return l.Listener.Close()
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	var pause Pause
	for {
		c, err := l.Listener.Accept()
		if err != nil && Passing(err) {
			pause.Wait(l.closed)
			continue
		}
		if err != nil {
			return nil, err
		}
		pause = Pause{}
		addr := Remote(c)
		if l.places.Enter(addr) {
			return &conn{Conn: c, leave: sync.OnceFunc(func() { l.places.Leave(addr) })}, nil
		}
		_ = c.Close()
		l.refused()
	}
}

// Remote is the address at a connection's other end.
func Remote(c net.Conn) netip.Addr {
	at, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	return at.Addr().Unmap()
}

type conn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *conn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
