package mesh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// Reconcile is one round: compute, set everything, go on after what fails, return all failures joined. Before there is a
// snapshot it does nothing: no fact would look like no host. The order is:
//
//  1. the guard, before anything that a container's packet could leave by; if it fails, bridges and ports stay as they are
//  2. the router's address, the filter
//  3. bridges, then their ports: what each may send as, before it goes up
//  4. the data plane, with its routes, which need 2 for their source
//  5. the peers: a handshake makes sense only with a data plane that knows the peer
//  6. announcements, when the routes that they speak of are there
func (r *Reconciler) Reconcile(ctx context.Context) error {
	r.round.Lock()
	defer r.round.Unlock()
	snap := r.facts.Snapshot()
	if snap.Empty() {
		return nil
	}
	start := time.Now()
	d := Compute(snap, r.own.Local(), r.o)
	var errs []error
	if err := r.links.SetGuard(d.Guard); err != nil {
		errs = append(errs, err)
	} else {
		errs = append(errs, r.setLinks(d)...)
	}
	if err := r.setPlane(ctx, &d); err != nil {
		errs = append(errs, err)
	}
	r.keys.SetPeers(d.Peers)
	errs = append(errs, r.announce(d)...)
	err := errors.Join(errs...)
	r.progress.publish(d, err)
	r.log.WithField("revision", d.Revision).WithField("took", time.Since(start)).Debug("reconciled")
	return err
}

func (r *Reconciler) setLinks(d Desired) []error {
	var errs []error
	if d.Router.IsValid() {
		errs = append(errs, r.links.SetAddr(d.Router))
	}
	return append(errs,
		r.links.SetFilter(d.Filter),
		r.links.SetBridges(d.Bridges),
		r.links.SetPorts(d.Ports))
}

func (r *Reconciler) setPlane(ctx context.Context, d *Desired) error {
	r.install.Lock()
	defer r.install.Unlock()
	r.wanted = d
	c := d.Config(r.keys.SAs())
	if r.given != nil && c.EqualButSAs(*r.given) && !c.EqualSAs(*r.given) {
		// To the data plane this looks like a Rekey, and is: a handshake is about to call it. But a round is to read back.
		if err := r.give(ctx, c); err != nil {
			return fmt.Errorf("data plane: %w", err)
		}
	}
	if err := r.give(ctx, c); err != nil {
		return fmt.Errorf("data plane: %w", err)
	}
	return nil
}

// Rekey sets the data plane anew with the SAs that the handshake holds now; it carries them when Rekey returns nil. For
// the handshake, which must not answer a peer before.
func (r *Reconciler) Rekey(ctx context.Context) error {
	r.install.Lock()
	defer r.install.Unlock()
	if r.wanted == nil {
		return errors.New("rekey: this host knows no peers yet")
	}
	c := r.wanted.Config(r.keys.SAs())
	if r.given != nil && r.refused == nil && c.EqualButSAs(*r.given) && c.EqualSAs(*r.given) {
		return nil // a round was faster
	}
	if err := r.give(ctx, c); err != nil {
		return fmt.Errorf("rekey: %w", err)
	}
	return nil
}

// give hands the data plane what to carry.
func (r *Reconciler) give(ctx context.Context, c ipsec.Config) error {
	r.given, r.refused = &c, r.plane.Set(ctx, c)
	return r.refused
}

// announce tells the containers of this host of addresses that have moved: from another host to this one, or from this
// one to another. Addresses that are gone are remembered as they last were, because a container does not forget them at
// once either. The first round only takes note.
func (r *Reconciler) announce(d Desired) []error {
	first := r.kinds == nil
	if first {
		r.kinds = make(map[Home]bool, len(d.Homes))
	}
	bridges := map[string]int{}
	for i, b := range d.Bridges {
		bridges[b.Name] = i
	}
	var errs []error
	for home, mac := range d.Homes {
		here := mac != nil
		was, known := r.kinds[home]
		if !first && known && was != here {
			if !here {
				mac = d.Bridges[bridges[home.Bridge]].MAC
			}
			if err := r.links.Announce(home.Bridge, home.Addr, mac); err != nil {
				errs = append(errs, err)
				continue // still to be announced
			}
		}
		r.kinds[home] = here
	}
	for home := range r.kinds {
		if _, ok := bridges[home.Bridge]; !ok {
			delete(r.kinds, home) // nobody is left to be told
		}
	}
	return errs
}
