package link

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// DelTunnel deletes a tunnel device of ours in the router namespace, with its routes. One that is not there is no error.
func (r *Router) DelTunnel(name string) error {
	r.links.Lock()
	defer r.links.Unlock()
	if name != TunName && !ours(name, TunnelPrefix) {
		return fmt.Errorf("tunnel %s: not a name of ours", name)
	}
	l, err := r.nl.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err == nil {
		err = r.nl.LinkDel(l)
	}
	if err != nil {
		return fmt.Errorf("delete tunnel %s: %w", name, err)
	}
	return nil
}
