// Package drivertest has a router namespace in memory, for tests of the driver and of what uses it.
package drivertest

import (
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/meshsec/meshsec/link"
)

// Links keeps bridges and veth pairs as values. The zero value is ready; it may be used concurrently.
type Links struct {
	mu      sync.Mutex
	bridges map[string]link.Bridge
	veths   map[string]link.Veth // by router end
	served  map[string]string    // sandbox → router end of its route to the services
	fail    map[string]int
	// Before, if set, is called with the method's name before each call, without a lock held.
	Before func(method string)
}

// ErrInjected is what a method fails with on demand.
var ErrInjected = errors.New("injected fault")

// Fail makes the next n calls of a method fail, without an effect.
func (l *Links) Fail(method string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail == nil {
		l.fail = map[string]int{}
	}
	l.fail[method] = n
}

// enter begins a call; the lock is held if it returns nil.
func (l *Links) enter(method string) error {
	if l.Before != nil {
		l.Before(method)
	}
	l.mu.Lock()
	if l.fail[method] > 0 {
		l.fail[method]--
		l.mu.Unlock()
		return ErrInjected
	}
	return nil
}

// EnsureBridge keeps the bridge.
func (l *Links) EnsureBridge(b link.Bridge) error {
	if err := l.enter("EnsureBridge"); err != nil {
		return err
	}
	defer l.mu.Unlock()
	if l.bridges == nil {
		l.bridges = map[string]link.Bridge{}
	}
	l.bridges[b.Name] = b
	return nil
}

// AddVeth keeps the pair. Its bridge must be there.
func (l *Links) AddVeth(v link.Veth) error {
	if err := l.enter("AddVeth"); err != nil {
		return err
	}
	defer l.mu.Unlock()
	if _, ok := l.bridges[v.Bridge]; !ok {
		return errors.New("bridge " + v.Bridge + " is not there")
	}
	if l.veths == nil {
		l.veths = map[string]link.Veth{}
	}
	l.veths[v.RouterEnd] = v
	return nil
}

// DelVeth forgets the pair.
func (l *Links) DelVeth(_, routerEnd string) error {
	if err := l.enter("DelVeth"); err != nil {
		return err
	}
	defer l.mu.Unlock()
	delete(l.veths, routerEnd)
	return nil
}

// Veths lists the router ends, sorted.
func (l *Links) Veths() ([]string, error) {
	if err := l.enter("Veths"); err != nil {
		return nil, err
	}
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.veths)), nil
}

// GiveService keeps the route. The pair must be there.
func (l *Links) GiveService(sandbox, routerEnd string) error {
	if err := l.enter("GiveService"); err != nil {
		return err
	}
	defer l.mu.Unlock()
	if _, ok := l.veths[routerEnd]; !ok {
		return errors.New("veth " + routerEnd + " is not there")
	}
	if l.served == nil {
		l.served = map[string]string{}
	}
	l.served[sandbox] = routerEnd
	return nil
}

// Served gives the router end that GiveService was last called with for a sandbox.
func (l *Links) Served(sandbox string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.served[sandbox]
}

// Veth gives a pair by the name of its container end.
func (l *Links) Veth(containerEnd string) (link.Veth, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range l.veths {
		if v.ContainerEnd == containerEnd {
			return v, true
		}
	}
	return link.Veth{}, false
}

// Bridge gives a bridge by its name.
func (l *Links) Bridge(name string) (link.Bridge, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.bridges[name]
	return b, ok
}
