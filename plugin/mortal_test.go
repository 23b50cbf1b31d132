package plugin

import (
	"errors"
	"strings"
	"sync"

	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

var errKilled = errors.New("killed")

// mortal is the life of an agent, which ends at one of its changes outside the process. From then on it changes nothing. Changes are
// made one by one, so that what counts as the k-th is clear.
type mortal struct {
	mu     sync.Mutex
	end    int  // the change at which it is killed, from 1 on; 0: none
	done   bool // it is killed when the change has taken effect and before the agent knows; else before
	dead   bool
	counts map[string]int // changes by kind
	last   string
}

func (m *mortal) change(what string, do func() error) error {
	if m == nil {
		return do()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return errKilled
	}
	m.last = what
	m.counts[kindOf(what)]++
	if m.total() != m.end {
		return do()
	}
	m.dead = true
	if m.done {
		_ = do()
	}
	return errKilled
}

func kindOf(what string) string {
	kind, _, named := strings.Cut(what, ": ")
	switch {
	case !named:
		return "etcd"
	case kind == "link":
		return "kernel"
	}
	return "disk"
}

func (m *mortal) total() (n int) {
	for _, c := range m.counts {
		n += c
	}
	return n
}

// around gives it to the store. A nil one lives for ever.
func (m *mortal) around() store.Around {
	if m == nil {
		return nil
	}
	return m.change
}

func (m *mortal) isDead() bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

// mortalLinks are the links for as long as the agent lives.
type mortalLinks struct {
	*links
	m *mortal
}

func (l mortalLinks) EnsureBridge(b link.Bridge) error {
	return l.m.change("link: bridge", func() error { return l.links.EnsureBridge(b) })
}

func (l mortalLinks) AddVeth(v link.Veth) error {
	return l.m.change("link: veth", func() error { return l.links.AddVeth(v) })
}

func (l mortalLinks) DelVeth(containerEnd, routerEnd string) error {
	return l.m.change("link: no veth", func() error { return l.links.DelVeth(containerEnd, routerEnd) })
}

func (l mortalLinks) GiveService(sandbox, routerEnd string) error {
	return l.m.change("link: service", func() error { return l.links.GiveService(sandbox, routerEnd) })
}

// rise starts a new agent where the last one is dead, and says whether it was.
func (e *dockerd) rise() bool {
	e.t.Helper()
	if !e.mortal.isDead() {
		return false
	}
	_ = e.rig.stop()
	e.mortal = nil // the next one lives
	e.boot()
	return true
}
