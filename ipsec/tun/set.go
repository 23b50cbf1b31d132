package tun

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
)

// Set implements ipsec.Dataplane: a new table for the packets, then the device and the routes as they are in the
// kernel; only the table, where c has new SAs and nothing else new; only the table and the routes that differ, where c is not the
// Config of the last Set and that succeeded. A peer's unusable SA or prefix costs that item only. Nothing that c points to may be changed
// afterwards.
func (p *Plane) Set(ctx context.Context, c ipsec.Config) error {
	p.set.Lock()
	defer p.set.Unlock()
	if p.isClosed() {
		return fmt.Errorf("tun plane: %w", net.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	last := p.last
	p.last = &c
	errs := p.publish(c)
	var err error
	switch same := last != nil && c.EqualButSAs(*last); {
	case same && !c.EqualSAs(*last):
		return errors.Join(errs...) // what failed outside of the table will be seen by the next Set
	case same, !p.whole, last.MTU != c.MTU:
		err = p.repair(c)
	default:
		if err = p.router.ChangeRoutes(changedRoutes(*last, c)); err != nil {
			err = fmt.Errorf("tunnel routes: %w", err)
		}
	}
	p.whole = err == nil
	return errors.Join(append(errs, err)...)
}

// repair makes the device and the routes into it what they must be, whatever they are.
func (p *Plane) repair(c ipsec.Config) error {
	if err := p.repairDevice(c.MTU); err != nil {
		return err // without the device there can be no routes
	}
	if err := p.router.SetRoutes(tunnelRoutes(c)); err != nil {
		return fmt.Errorf("tunnel routes: %w", err)
	}
	return nil
}

// publish makes the table of c the one that packets see.
func (p *Plane) publish(c ipsec.Config) []error {
	old := p.table.Load()
	t := &table{spis: map[uint32]inboundOf{}}
	var errs []error
	if t.routes = old.routes.next(old.peers, c.Peers); t.routes == nil {
		t.routes, errs = newRoutes(c.Peers)
	}
	stats := map[string]*peerStats{}
	for _, e := range old.peers {
		stats[e.name] = e.stats
	}
	used := map[fingerprint]bool{}
	for i := range c.Peers {
		e, err := p.newPeer(t, i, &c.Peers[i], used)
		if err != nil {
			errs = append(errs, fmt.Errorf("peer %s: %w", c.Peers[i].Name, err))
		}
		if e.stats = stats[e.name]; e.stats == nil {
			e.stats = &peerStats{moved: bucket{rate: 20, burst: 20}}
		}
		t.peers = append(t.peers, e)
	}
	p.table.Store(t)
	p.sas.retire(used, time.Now())
	return errs
}

// newPeer makes the entry of the peer with ordinal i, and enters its inbound SAs.
func (p *Plane) newPeer(t *table, i int, c *ipsec.Peer, used map[fingerprint]bool) (peer, error) {
	e := peer{name: c.Name, prefixes: c.Prefixes, remote: c.Remote}
	if c.Router.Is4() {
		e.router = c.Router.As4()
	}
	var errs []error
	if e.bare = c.Encap == ipsec.EncapESP; e.bare && (p.esp == nil || !c.Remote.Addr().Is4()) {
		return e, errors.New("encapsulation esp: this host has no socket for it")
	}
	for j := range c.In {
		sa := &c.In[j]
		if _, ok := t.spis[uint32(sa.SPI)]; ok || sa.SPI <= reservedSPI {
			errs = append(errs, fmt.Errorf("inbound SA %s: the SPI is reserved or belongs to another SA", sa.SPI))
			continue
		}
		in, err := p.sas.inbound(sa, used)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		t.spis[uint32(sa.SPI)] = inboundOf{in, i}
	}
	if c.Out != nil && c.Remote.IsValid() {
		var err error
		if e.out, err = p.sas.outbound(c.Out, used); err != nil {
			errs = append(errs, err)
		}
	}
	return e, errors.Join(errs...)
}

// reservedSPI is the last of the SPIs that must not be used (RFC 4303, section 2.1).
const reservedSPI = 255

// minMTU is the smallest MTU that IPv4 allows (RFC 791).
const minMTU = 68

// repairDevice makes the device again if somebody has deleted it, and sets MTU and state.
func (p *Plane) repairDevice(mtu int) error {
	if mtu < minMTU || mtu >= maxPacket {
		return fmt.Errorf("tunnel device %s: MTU %d is not within %d and %d", link.TunName, mtu, minMTU, maxPacket-1)
	}
	if old := p.device.Load(); !old.usable() {
		_ = old.close() // first: a device takes one file only
		d, err := openDevice(p.router, link.TunName)
		if err != nil {
			return err
		}
		p.device.Store(d)
		select {
		case p.replaced <- struct{}{}:
		default:
		}
	}
	if err := p.router.SetTunnel(link.TunName, mtu, gsoMaxSize); err != nil {
		return fmt.Errorf("tunnel device %s: %w", link.TunName, err)
	}
	return nil
}
