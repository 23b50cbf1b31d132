package xfrm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/link"
)

// applyLink carries out a step on a device.
func (k *netlinkKernel) applyLink(s step) error {
	switch s.Verb {
	case addDevice:
		return k.addDevice(s.Device)
	case setDevice:
		return do(k.Netlink, s.Device.set())
	case delStray:
		return gone(do(k.HostNetlink, s.Device.del()))
	default:
		return gone(do(k.Netlink, s.Device.del()))
	}
}

// do sends one message of rtnetlink.
func do(open func(int) (*link.Netlink, error), m link.Message) error {
	return with(open, unix.NETLINK_ROUTE, func(n *link.Netlink) error {
		var failed error
		err := n.Batch([]link.Message{m}, func(_ int, err error) { failed = err })
		return errors.Join(err, failed)
	})
}

// gone takes it for success that there was nothing to delete.
func gone(err error) error {
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// addDevice makes a device in the host's namespace, whose SAs and policies it uses from then on wherever it is (struct
// xfrm_if's net), and moves it. That takes the kernel milliseconds: a grace period of RCU, with all links locked.
func (k *netlinkKernel) addDevice(d device) error {
	return with(k.HostNetlink, unix.NETLINK_ROUTE, func(n *link.Netlink) error {
		one := func(m link.Message) error {
			var failed error
			err := n.Batch([]link.Message{m}, func(_ int, err error) { failed = err })
			return errors.Join(err, failed)
		}
		err := one(d.create())
		if errors.Is(err, unix.EEXIST) {
			// Of strays and devices in the router is known that they are not it, since the list was made just now; so it is
			// the if_id, of an interface in any namespace. But the name may be taken by a link that is no xfrm interface.
			if k.named(d.Name) {
				return fmt.Errorf("the name is in use in the host's namespace: %w", err)
			}
			return errTaken
		}
		if err != nil {
			return fmt.Errorf("make: %w", err)
		}
		err = one(d.move(k.router.Fd()))
		if errors.Is(err, unix.EEXIST) { // there is something of our name in our own namespace that is no xfrm interface
			if err = do(k.Netlink, d.del()); err == nil {
				err = one(d.move(k.router.Fd()))
			}
		}
		if err != nil {
			return errors.Join(fmt.Errorf("move into the router and set up: %w", err), gone(one(d.del())))
		}
		return nil
	})
}

// named tells whether the host's namespace has a link of that name.
func (k *netlinkKernel) named(name string) bool {
	found := false
	err := with(k.HostNetlink, unix.NETLINK_ROUTE, func(n *link.Netlink) error {
		return n.Query([]link.Message{{Kind: unix.RTM_GETLINK, Body: ifinfo(name, 0, 0)}},
			func(int, []byte) { found = true }, func(int, error) {})
	})
	return err == nil && found
}
