package teststore

import (
	"io"
	"net"
	"strings"
	"sync"

	"github.com/meshsec/meshsec/store"
)

// Wire is what a host's connections to etcd go through. All methods may be called concurrently.
type Wire struct {
	target   string
	listener net.Listener

	mu    sync.Mutex
	turn  *sync.Cond // state has changed
	state wireState
	conns map[net.Conn]bool
}

type wireState int

const (
	whole  wireState = iota
	frozen           // bytes wait
	cut              // connections are closed, new ones refused
	gone
)

// WiredHost is Host behind a wire of its own.
func (e *Environment) WiredHost(name string) (*Host, *Wire) {
	e.t.Helper()
	return e.wired(store.NewHostID(), name)
}

// Founder is the host that runs etcd and holds the authority's key, so that it looks after removed hosts.
func (e *Environment) Founder(name string) (*Host, *Wire) {
	e.t.Helper()
	h, w := e.wired(e.config.Name, name)
	err := h.Checkpoint.Update(func(l *store.Local) error {
		l.Identity.CAKey = e.ca.Key
		return nil
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return h, w
}

func (e *Environment) wired(id, name string) (*Host, *Wire) {
	e.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.t.Fatal(err)
	}
	w := &Wire{target: strings.TrimPrefix(e.etcd.Endpoints()[0], "https://"), listener: l, conns: map[net.Conn]bool{}}
	w.turn = sync.NewCond(&w.mu)
	go w.serve()
	e.t.Cleanup(func() { // after the host's own, which was registered later
		w.set(gone)
		l.Close()
	})
	return e.host(id, name, []string{"https://" + l.Addr().String()}), w
}

// Cut partitions the host from etcd: connections break, and none is made.
func (w *Wire) Cut() { w.set(cut) }

// Freeze holds back every byte, so that what is on its way arrives late.
func (w *Wire) Freeze() { w.set(frozen) }

// Heal ends Cut and Freeze.
func (w *Wire) Heal() { w.set(whole) }

func (w *Wire) set(state wireState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = state
	if state >= cut {
		for c := range w.conns {
			c.Close()
		}
	}
	w.turn.Broadcast()
}

// thawed waits until bytes may pass; false: none will.
func (w *Wire) thawed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.state == frozen {
		w.turn.Wait()
	}
	return w.state == whole
}

// keep notes a connection for Cut; false: it comes too late.
func (w *Wire) keep(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state >= cut {
		return false
	}
	w.conns[c] = true
	return true
}

func (w *Wire) serve() {
	for {
		in, err := w.listener.Accept()
		if err != nil {
			return
		}
		go w.carry(in)
	}
}

func (w *Wire) carry(in net.Conn) {
	defer in.Close()
	if !w.keep(in) {
		return
	}
	out, err := net.Dial("tcp", w.target)
	if err == nil && w.keep(out) {
		var both sync.WaitGroup
		both.Go(func() { w.copy(out, in) })
		both.Go(func() { w.copy(in, out) })
		both.Wait()
		out.Close()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, in)
	delete(w.conns, out)
}

// copy ends both connections when one of them has ended.
func (w *Wire) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	_, _ = io.Copy(gated{w, to}, from)
}

type gated struct {
	w  *Wire
	to net.Conn
}

// Write implements io.Writer.
func (g gated) Write(b []byte) (int, error) {
	if !g.w.thawed() {
		return 0, io.ErrClosedPipe
	}
	return g.to.Write(b)
}
