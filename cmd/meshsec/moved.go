package main

import (
	"context"
	"errors"
	"time"

	"github.com/meshsec/meshsec/link"
)

// underlayEvery is how often this host's addresses are looked at. What is seen twice has changed.
const underlayEvery = time.Second

// errMoved ends a node whose underlay address is another one now: sockets, SAs, etcd and the fact all bear the old one.
var errMoved = errors.New("this host's underlay address has changed")

// keepUnderlay watches the underlay address until ctx ends, and returns errMoved when it has changed.
func (n *node) keepUnderlay(ctx context.Context) error {
	tick := time.NewTicker(underlayEvery)
	defer tick.Stop()
	for before := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		moved, err := link.Moved(n.set.Advertise, n.addrs)
		if err != nil {
			n.log.WithError(err).Debug("underlay address unknown at present")
		}
		if moved && before {
			return errMoved
		}
		before = moved
	}
}
