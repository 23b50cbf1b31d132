package mesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
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
	_, err := r.reconcile(ctx, true)
	return err
}

// reconcile is a round. A whole one reads back whatever others may have changed. Else what is as in the round before, which
// succeeded, is taken to be there: another host's endpoint costs its route and nothing more. A quick one has left the links alone.
func (r *Reconciler) reconcile(ctx context.Context, whole bool) (quick bool, err error) {
	r.round.Lock()
	defer r.round.Unlock()
	snap := r.facts.Snapshot()
	if snap.Empty() {
		return true, nil
	}
	start := time.Now()
	local := r.own.Local()
	d := r.memory.compute(snap, local, r.o)
	var errs []error
	before := r.linked
	if quick = !whole && before != nil && before.local == local && before.desired.sameLinks(d); !quick {
		errs = r.setLinks(d)
		if r.linked = nil; errors.Join(errs...) == nil {
			r.linked = &linked{local, d}
		}
	}
	if err := r.setPlane(ctx, &d, whole); err != nil {
		errs = append(errs, err)
	}
	r.keys.SetPeers(d.Peers)
	errs = append(errs, r.announcer.announce(d, r.links)...)
	err = errors.Join(errs...)
	r.progress.publish(d, err)
	r.log.WithField("revision", d.Revision).WithField("took", time.Since(start)).Debug("reconciled")
	return quick, err
}

// linked is what the links were set to, without an error.
type linked struct {
	local   *store.Local
	desired Desired
}

// sameLinks says that d and o differ in peers at most.
func (d Desired) sameLinks(o Desired) bool {
	return d.Router == o.Router && slices.Equal(d.Guard, o.Guard) && d.Filter.Routers == o.Filter.Routers && slices.Equal(d.Filter.Networks, o.Filter.Networks) &&
		slices.EqualFunc(d.Bridges, o.Bridges, func(a, b link.Bridge) bool {
			return a.Network == b.Network && a.Name == b.Name && a.Pool == b.Pool && a.Gateway == b.Gateway && bytes.Equal(a.MAC, b.MAC) && a.MTU == b.MTU
		}) &&
		slices.EqualFunc(d.Ports, o.Ports, func(a, b link.Veth) bool {
			return a.ContainerEnd == b.ContainerEnd && a.RouterEnd == b.RouterEnd && a.Bridge == b.Bridge && a.MTU == b.MTU && bytes.Equal(a.MAC, b.MAC) && a.Addr == b.Addr
		})
}

func (r *Reconciler) setLinks(d Desired) []error {
	if err := r.links.SetGuard(d.Guard); err != nil {
		return []error{err}
	}
	var errs []error
	if d.Router.IsValid() {
		errs = append(errs, r.links.SetAddr(d.Router))
	}
	return append(errs,
		r.links.SetFilter(d.Filter),
		r.links.SetBridges(d.Bridges),
		r.links.SetPorts(d.Ports))
}

// setPlane gives the data plane what to carry; when whole also a second time if there was news in it, for then it reads back.
func (r *Reconciler) setPlane(ctx context.Context, d *Desired, whole bool) error {
	r.install.Lock()
	defer r.install.Unlock()
	r.wanted = d
	c := d.Config(r.keys.SAs())
	// After an error the data plane repairs all, whatever there is in c; but new SAs alone look to it like a Rekey.
	repairs := r.given == nil || r.refused != nil && (c.EqualSAs(*r.given) || !c.EqualButSAs(*r.given))
	news := repairs || !c.Equal(*r.given)
	if news {
		if err := r.give(ctx, c); err != nil {
			return fmt.Errorf("data plane: %w", err)
		}
	}
	if whole && !(news && repairs) {
		if err := r.give(ctx, c); err != nil {
			return fmt.Errorf("data plane: %w", err)
		}
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
	if r.given != nil && r.refused == nil && c.Equal(*r.given) {
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
