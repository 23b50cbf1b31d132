package xfrm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Purge deletes every SA, policy and xfrm interface that bears our mark, in the host's namespace and the router's, and
// nothing else. Not while a Plane is open. A kernel without IPsec has nothing to delete.
func Purge(r Router) error {
	k, err := openKernel(r)
	if err != nil {
		return err
	}
	err = purge(k)
	return errors.Join(err, k.close())
}

func purge(k kernel) error {
	inv, err := k.list()
	if errors.Is(err, unix.EPROTONOSUPPORT) { // no NETLINK_XFRM
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	var steps []step
	for _, s := range plan(newWorld(), inv.world) {
		if s.Verb != setRoutes {
			steps = append(steps, s)
		}
	}
	for i, err := range k.apply(steps, nil) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", steps[i], err))
		}
	}
	return errors.Join(errs...)
}
