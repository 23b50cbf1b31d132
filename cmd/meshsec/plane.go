package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/ipsec/tun"
	"github.com/meshsec/meshsec/ipsec/underlay"
	"github.com/meshsec/meshsec/ipsec/xfrm"
	"github.com/meshsec/meshsec/link"
)

// dataplane is either of the two.
type dataplane interface {
	ipsec.Dataplane
	Run(ctx context.Context) error
}

// The names of the data planes, as settings and facts have them.
const (
	kernelPlane    = "kernel"
	userspacePlane = "userspace"
)

// openDataPlane opens the underlay socket and the data plane that DATAPLANE names, or with auto the kernel's where all of
// it works and the userspace one elsewhere.
func (n *node) openDataPlane() (err error) {
	if n.socket, err = underlay.Open(underlay.Config{Addrs: n.addrs, Port: uint16(n.set.Port)}, n.log); err != nil {
		return fmt.Errorf("settings ADVERTISE and PORT: %w", err)
	}
	n.closers = append(n.closers, n.socket.Close)
	n.ciphers = ciphers()
	if err := n.choosePlane(); err != nil {
		return err
	}
	if n.dataPlane == kernelPlane {
		err = n.openKernelPlane()
	} else {
		err = n.openUserspacePlane()
	}
	if err != nil {
		return err
	}
	n.closers = append(n.closers, n.plane.Close)
	n.log.WithField("plane", n.dataPlane).Info("data plane: " + n.dataPlaneReason)
	return nil
}

// choosePlane settles which plane it is, and why.
func (n *node) choosePlane() error {
	if n.set.DataPlane == userspacePlane {
		n.dataPlane, n.dataPlaneReason = userspacePlane, "set by DATAPLANE"
		return nil
	}
	works, err := xfrm.Probe(n.router, n.log)
	switch {
	case err != nil && n.set.DataPlane == kernelPlane:
		return fmt.Errorf("setting DATAPLANE=kernel: %w", err)
	case err != nil:
		n.dataPlane, n.dataPlaneReason = userspacePlane, strings.TrimPrefix(err.Error(), "kernel plane: ")
		return nil
	}
	n.ciphers = slices.DeleteFunc(n.ciphers, func(c ipsec.Cipher) bool { return !slices.Contains(works, c) })
	n.dataPlane, n.dataPlaneReason = kernelPlane, "the kernel has all that it takes"
	return nil
}

// openKernelPlane takes the kernel's IPsec into service, and a userspace plane's device out of it.
func (n *node) openKernelPlane() (err error) {
	n.plane, err = xfrm.Open(n.router, n.socket, n.addrs, n.log)
	if err != nil {
		return err
	}
	return n.router.DelTunnel(link.TunName)
}

// openUserspacePlane takes the TUN device into service, and a kernel plane's SAs out of it.
func (n *node) openUserspacePlane() (err error) {
	if ipsec.Encap(n.set.Encap) == ipsec.EncapESP {
		if n.esp, err = underlay.OpenESP(n.addrs, n.log); err != nil {
			return fmt.Errorf("setting ENCAP: %w", err)
		}
		n.closers = append(n.closers, n.esp.Close)
	}
	plane, err := tun.Open(n.router, n.socket, n.esp, n.log)
	if err != nil {
		return err
	}
	n.plane = plane
	if err := xfrm.Purge(n.router); err != nil {
		return errors.Join(err, plane.Close())
	}
	return nil
}
