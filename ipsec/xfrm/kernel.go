package xfrm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
)

// kernel is what a Plane needs of the kernel; *netlinkKernel is the real one.
type kernel interface {
	// list gives everything of ours.
	list() (inventory, error)
	// counters gives those of a few SAs; what is gone is missing.
	counters(keys []stateKey) (map[stateKey]counter, error)
	// apply carries out steps, none of them setRoutes, one after the other, and goes on after a failing one. It gives an
	// error, or nil, for each. key gives the keys of SAs that are to be added.
	apply(steps []step, key func(stateKey) *ipsec.Key) []error
	// drops gives the kernel's counters of dropped packets (/proc/net/xfrm_stat).
	drops() (map[string]uint64, error)
	// notices hands fn what the kernel tells unasked, until ctx ends.
	notices(ctx context.Context, fn func(notice)) error
	close() error
}

// errUnknown says that the kernel may or may not have done what it was asked for.
var errUnknown = errors.New("the kernel's answer is missing")

// errTaken says that an if_id is in use, somewhere in the machine.
var errTaken = errors.New("the if_id is in use by somebody else's xfrm interface")

// Bounds of netlink's use.
const (
	listTries = 5
	// stateBatch is the number of messages in one send; an SA's is about 450 bytes, and a socket buffer of the default
	// size holds them.
	stateBatch = 128
)

// netlinkKernel talks to the kernel. Sockets are opened for each use: one that has lost an answer is not used again.
type netlinkKernel struct {
	Router
	host, router *os.File // the namespaces
}

func openKernel(r Router) (*netlinkKernel, error) {
	k := &netlinkKernel{Router: r}
	err := errors.Join(
		r.DoHost(func() (err error) { k.host, err = os.Open(threadNS); return err }),
		r.Do(func() (err error) { k.router, err = os.Open(threadNS); return err }))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("network namespaces: %w", err), k.close())
	}
	return k, nil
}

// threadNS is the network namespace of the calling thread.
const threadNS = "/proc/thread-self/ns/net"

func (k *netlinkKernel) close() error {
	var errs []error
	for _, f := range []*os.File{k.host, k.router} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// with runs fn with a socket of its own.
func with(open func(family int) (*link.Netlink, error), family int, fn func(*link.Netlink) error) error {
	n, err := open(family)
	if err != nil {
		return err
	}
	return errors.Join(fn(n), n.Close())
}

// again repeats fn, which only reads, as long as the kernel says that it could not be read in one go.
func again(fn func() error) error {
	var err error
	for range listTries {
		err = fn()
		transient := errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EBUSY)
		if !transient {
			return err
		}
	}
	return err
}

func (k *netlinkKernel) list() (inv inventory, err error) {
	err = again(func() error {
		inv = inventory{world: newWorld(), counters: map[stateKey]counter{}, unsealed: map[string]uint64{}, foreign: map[uint32]string{}}
		// Devices first: an if_id of one of ours is ours, whatever else is different.
		return errors.Join(k.listDevices(&inv), with(k.HostNetlink, unix.NETLINK_XFRM, func(n *link.Netlink) error {
			mine := inv.mine()
			return errors.Join(listStates(n, &inv, mine), listPolicies(n, &inv, mine))
		}))
	})
	if err != nil {
		return inventory{}, fmt.Errorf("list the kernel's IPsec: %w", err)
	}
	return inv, nil
}

// mine are the if_ids that belong to devices of ours.
func (inv *inventory) mine() map[uint32]bool {
	ids := map[uint32]bool{}
	for _, d := range inv.Devices {
		ids[d.IfID] = d.IfID != 0
	}
	return ids
}

func (k *netlinkKernel) counters(keys []stateKey) (counters map[stateKey]counter, err error) {
	err = again(func() error {
		counters = map[stateKey]counter{}
		return with(k.HostNetlink, unix.NETLINK_XFRM, func(n *link.Netlink) error {
			for part := range slices.Chunk(keys, stateBatch) {
				msgs := make([]link.Message, len(part))
				for i, key := range part {
					msgs[i] = key.get()
				}
				err := n.Query(msgs, func(i int, body []byte) {
					if s, ok := parseState(body); ok {
						counters[part[i]] = s.counter
					}
				}, func(int, error) {}) // gone
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
	return counters, err
}

func (k *netlinkKernel) apply(steps []step, key func(stateKey) *ipsec.Key) []error {
	var errs []error
	for len(steps) > 0 {
		n := 1
		if steps[0].Verb.ofXfrm() {
			for n < len(steps) && n < stateBatch && steps[n].Verb.ofXfrm() {
				n++
			}
			errs = append(errs, k.applyXfrm(steps[:n], key)...)
		} else {
			errs = append(errs, k.applyLink(steps[0]))
		}
		steps = steps[n:]
	}
	return errs
}

// applyXfrm sends one batch.
func (k *netlinkKernel) applyXfrm(steps []step, key func(stateKey) *ipsec.Key) []error {
	msgs := make([]link.Message, len(steps))
	for i, s := range steps {
		msgs[i] = s.message(key)
	}
	errs := make([]error, len(steps))
	err := with(k.HostNetlink, unix.NETLINK_XFRM, func(n *link.Netlink) error {
		return n.Batch(msgs, func(i int, err error) {
			gone := errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT)
			if !(gone && (steps[i].Verb == delState || steps[i].Verb == delPolicy)) {
				errs[i] = err
			}
		})
	})
	for i := range msgs {
		clear(msgs[i].Body) // the keys
		if err != nil && errs[i] == nil {
			errs[i] = fmt.Errorf("%w: %w", errUnknown, err)
		}
	}
	return errs
}
