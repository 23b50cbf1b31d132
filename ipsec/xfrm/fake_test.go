package xfrm

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
)

// fault says how the nth call of a fake goes wrong.
type fault int

const (
	refuses  fault = iota // with an errno
	silent                // carries it out, but its answer is lost
	deaf                  // does not get it, and the answer is lost
	faults                // number of
	noFault  = -1
	ourPort  = 4500
	firstSPI = ipsec.SPI(0x1000)
)

// fakeKernel is a kernel in memory, and the router in front of it. It fails the test when a key is given to it twice, or
// when a packet would leave for another host than its own.
type fakeKernel struct {
	t *testing.T
	inventory
	broken    string            // a device that can't be made
	theirs    map[stateKey]bool // somebody else's SAs
	elsewhere map[uint32]bool   // if_ids of interfaces that no list shows
	keys      map[ipsec.Key]bool
	homes     map[netip.Prefix]netip.Addr // where packets must go
	routes    map[netip.Prefix]link.Route
	lists     int // calls of SetRoutes
	made      []string
	told      chan notice

	calls, failAt int
	how           fault
}

func newFake(t *testing.T) (*Plane, *fakeKernel) {
	k := &fakeKernel{t: t, failAt: noFault, told: make(chan notice), theirs: map[stateKey]bool{}, elsewhere: map[uint32]bool{}, keys: map[ipsec.Key]bool{},
		homes: map[netip.Prefix]netip.Addr{}, routes: map[netip.Prefix]link.Route{},
		inventory: inventory{world: newWorld(), counters: map[stateKey]counter{}, unsealed: map[string]uint64{}, foreign: map[uint32]string{}}}
	return k.plane(), k
}

// plane is a new process on the kernel.
func (k *fakeKernel) plane() *Plane {
	p := newPlane(k, k, []netip.Addr{us}, ourPort, quiet())
	k.t.Cleanup(func() { _ = p.Close() })
	return p
}

// fails says whether this call is the one.
func (k *fakeKernel) fails(how fault) bool {
	return k.calls == k.failAt && k.how == how
}

func (k *fakeKernel) list() (inventory, error) {
	k.calls++
	if k.calls == k.failAt {
		return inventory{}, unix.ENOBUFS
	}
	return inventory{counters: maps.Clone(k.inventory.counters), unsealed: map[string]uint64{}, foreign: maps.Clone(k.foreign),
		world: world{maps.Clone(k.Devices), maps.Clone(k.Strays), maps.Clone(k.States), maps.Clone(k.Policies)}}, nil
}

func (k *fakeKernel) apply(steps []step, key func(stateKey) *ipsec.Key) []error {
	errs := make([]error, len(steps))
	for i, s := range steps {
		k.calls++
		switch {
		case k.fails(refuses):
			errs[i] = unix.ENOMEM
		case k.fails(deaf):
			errs[i] = fmt.Errorf("%w: %w", errUnknown, unix.ENOBUFS)
		default:
			errs[i] = k.carryOut(s, key)
			if k.fails(silent) {
				errs[i] = fmt.Errorf("%w: %w", errUnknown, unix.ENOBUFS)
			}
		}
		k.check()
	}
	return errs
}

func (k *fakeKernel) carryOut(s step, key func(stateKey) *ipsec.Key) error {
	switch s.Verb {
	case addDevice:
		if s.Device.Name == k.broken {
			return unix.EEXIST
		}
		if k.elsewhere[s.Device.IfID] {
			return errTaken
		}
		k.made = append(k.made, s.Device.Name)
		k.Devices[s.Device.Name] = s.Device
	case setDevice:
		k.Devices[s.Device.Name] = s.Device
	case delDevice:
		delete(k.Devices, s.Device.Name)
		maps.DeleteFunc(k.routes, func(_ netip.Prefix, r link.Route) bool { return r.Dev == s.Device.Name })
	case delStray:
		delete(k.Strays, s.Device.Name)
	case addState:
		if _, there := k.States[s.StateKey]; there || k.theirs[s.StateKey] {
			return unix.EEXIST
		}
		if k.keys[*key(s.StateKey)] {
			k.t.Errorf("%s: its key was in the kernel before", s)
		}
		k.keys[*key(s.StateKey)] = true
		k.States[s.StateKey] = s.State
		k.inventory.counters[s.StateKey] = counter{}
	case delState:
		delete(k.States, s.StateKey)
		delete(k.inventory.counters, s.StateKey)
	case setPolicy:
		k.Policies[s.Key] = s.Policy
	case delPolicy:
		delete(k.Policies, s.Key)
	}
	return nil
}

// check holds that what is routed into a device is sealed for its own host, or dropped.
func (k *fakeKernel) check() {
	for dst, r := range k.routes {
		o, ok := k.Policies[policyKey{out, k.Devices[r.Dev].IfID}]
		if s, there := k.States[stateKey{o.Dst, o.SPI}]; ok && there && (o.Dst != k.homes[dst] || s.IfID != k.Devices[r.Dev].IfID) {
			k.t.Errorf("%s is sealed for %s", dst, o.Dst)
		}
	}
}

// sealed tells whether packets to a prefix get out.
func (k *fakeKernel) sealed(dst netip.Prefix) bool {
	r, ok := k.routes[dst]
	d := k.Devices[r.Dev]
	o := k.Policies[policyKey{out, d.IfID}]
	_, there := k.States[stateKey{o.Dst, o.SPI}]
	return ok && d.Up && there
}

func (k *fakeKernel) SetRoutes(want []link.Route) error {
	k.calls++
	k.lists++
	if k.calls == k.failAt && k.how != silent {
		return unix.ENOBUFS
	}
	clear(k.routes)
	return k.ChangeRoutes(want, nil)
}

func (k *fakeKernel) ChangeRoutes(want, del []link.Route) error {
	k.calls++
	if k.calls == k.failAt && k.how != silent {
		return unix.ENOBUFS
	}
	for _, r := range want {
		if _, there := k.Devices[r.Dev]; !there {
			return fmt.Errorf("no device %s", r.Dev)
		}
		k.routes[r.Dst] = r
	}
	for _, r := range del {
		delete(k.routes, r.Dst)
	}
	k.check()
	if k.calls == k.failAt {
		return unix.ENOBUFS
	}
	return nil
}

func (k *fakeKernel) counters(keys []stateKey) (map[stateKey]counter, error) {
	found := map[stateKey]counter{}
	for _, key := range keys {
		if c, there := k.inventory.counters[key]; there {
			found[key] = c
		}
	}
	return found, nil
}
func (k *fakeKernel) drops() (map[string]uint64, error) { return nil, nil }
func (k *fakeKernel) close() error                      { return nil }
func (k *fakeKernel) HostNotices(context.Context, int, []int, func(uint16, []byte)) error {
	return unix.ENOSYS
}
func (k *fakeKernel) notices(ctx context.Context, fn func(notice)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case n := <-k.told:
			fn(n)
		}
	}
}
func (k *fakeKernel) Do(fn func() error) error                  { return fn() }
func (k *fakeKernel) DoHost(fn func() error) error              { return fn() }
func (k *fakeKernel) Netlink(int) (*link.Netlink, error)        { return nil, unix.ENOSYS }
func (k *fakeKernel) HostNetlink(int) (*link.Netlink, error)    { return nil, unix.ENOSYS }
func (k *fakeKernel) Watch(ctx context.Context, _ func()) error { <-ctx.Done(); return nil }
