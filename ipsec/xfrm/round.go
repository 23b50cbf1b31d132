package xfrm

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
)

// maxErrors bounds how many errors one round names.
const maxErrors = 10

// round carries out one plan. It goes on after a failing step, but leaves out what would harm without it.
type round struct {
	*Plane
	rekeyed map[string]bool // see converge
	now     time.Time
	byKey   map[stateKey]*association
	devs    map[string]bool // that are there
	renewed []string        // devices that have no routes yet

	noDevice map[uint32]bool   // if_ids that nothing may be made for
	noState  map[stateKey]bool // could not be added
	noTurn   map[uint32]bool   // if_ids whose outbound policy could not be turned to the new SA
	changed  int
	errs     []error
	more     int // further errors
}

func (p *Plane) newRound(rekeyed map[string]bool) *round {
	r := &round{Plane: p, rekeyed: rekeyed, now: p.now(), byKey: map[stateKey]*association{}, devs: map[string]bool{},
		noDevice: map[uint32]bool{}, noState: map[stateKey]bool{}, noTurn: map[uint32]bool{}}
	p.each(func(_ *peer, a *association) { r.byKey[a.key] = a })
	return r
}

// kindOf groups the steps that can be carried out without knowing how each other ends.
func kindOf(v verb) int {
	switch v {
	case addState, delState:
		return int(addState)
	default:
		return int(v)
	}
}

func (r *round) execute(steps []step) {
	for len(steps) > 0 {
		n := 1
		for n < len(steps) && kindOf(steps[n].Verb) == kindOf(steps[0].Verb) {
			n++
		}
		group := make([]step, 0, n)
		for _, s := range steps[:n] {
			if !r.harms(s) {
				group = append(group, s)
			}
		}
		steps = steps[n:]
		switch {
		case len(group) == 0:
		case group[0].Verb == setRoutes:
			r.setRoutes()
		default:
			for i, err := range r.kernel.apply(group, r.key) {
				r.done(group[i], err)
			}
		}
	}
}

// key is asked for the key of an SA that is to be added.
func (r *round) key(k stateKey) *ipsec.Key { return r.byKey[k].secret }

// harms tells whether a step must not be carried out because of one that has failed.
func (r *round) harms(s step) bool {
	switch s.Verb {
	case addState, setPolicy:
		if r.noDevice[s.ifID()] {
			return true
		}
		// Better to go on sealing with the old SA than to seal with one that is missing.
		if s.Verb == setPolicy && s.Key.Dir == out && r.noState[stateKey{s.Policy.Dst, s.Policy.SPI}] {
			r.noTurn[s.Key.IfID] = true
			return true
		}
	case delState:
		return r.noTurn[s.State.IfID]
	}
	return false
}

// done takes note of how a step went.
func (r *round) done(s step, err error) {
	if err == nil {
		r.changed++
	} else {
		r.fail(r.host(s), fmt.Errorf("%s: %w", s, err))
	}
	switch s.Verb {
	case addDevice, setDevice:
		r.devs[s.Device.Name] = err == nil
		if err == nil {
			r.renewed = append(r.renewed, s.Device.Name)
		} else {
			r.noDevice[s.Device.IfID] = true
		}
		if errors.Is(err, errTaken) {
			r.refused[s.Device.IfID] = true
		}
	case delDevice:
		r.devs[s.Device.Name] = r.devs[s.Device.Name] && err != nil
	case addState:
		r.added(r.byKey[s.StateKey], err)
		if err != nil {
			r.noState[s.StateKey] = true
		}
	case setPolicy:
		if err != nil && s.Key.Dir == out {
			r.noTurn[s.Key.IfID] = true
		}
	}
}

// added moves an SA to its next stage.
func (r *round) added(a *association, err error) {
	switch {
	case err == nil:
		a.stage, a.given, a.since = installed, true, r.now
	case errors.Is(err, errUnknown):
		a.stage, a.given, a.since = tried, true, r.now
	case errors.Is(err, unix.EEXIST): // somebody else's SA has the SPI: the handshake must choose another
		a.stage = spent
	}
}

// fail keeps an error of a peer; "": of none in particular.
func (r *round) fail(host string, err error) {
	if r.rekeyed != nil && !r.rekeyed[host] {
		return // Run will meet it, too
	}
	if host != "" {
		err = fmt.Errorf("peer %s: %w", host, err)
	}
	if len(r.errs) < maxErrors {
		r.errs = append(r.errs, err)
	} else {
		r.more++
	}
}

// host is the peer that a step is for; "" for what is not wanted any more.
func (r *round) host(s step) string {
	if e := r.byIfID[s.ifID()]; e != nil {
		return e.Name
	}
	return ""
}

func (r *round) err() error {
	if r.more > 0 {
		r.errs = append(r.errs, fmt.Errorf("and %d more", r.more))
	}
	return errors.Join(r.errs...)
}

// setRoutes gives new devices their routes, and, if it may be necessary, has all of them listed and repaired.
func (r *round) setRoutes() {
	if r.stale && r.rekeyed == nil {
		err := r.router.SetRoutes(r.routes(nil))
		if err == nil {
			r.stale = false
		} else {
			r.fail("", fmt.Errorf("tunnel routes: %w", err))
		}
		return
	}
	if len(r.renewed) == 0 {
		return
	}
	only := map[string]bool{}
	for _, name := range r.renewed {
		only[name] = true
	}
	if err := r.router.ChangeRoutes(r.routes(only), nil); err != nil {
		r.stale = true
		r.fail("", fmt.Errorf("tunnel routes: %w", err))
	}
}

// routes are those into the devices that are there, or only into some of them.
func (r *round) routes(only map[string]bool) []link.Route {
	var routes []link.Route
	for _, e := range r.memory.peers {
		if !r.devs[e.dev] || only != nil && !only[e.dev] {
			continue
		}
		routes = append(routes, r.routesOf(e, e.Prefixes)...)
	}
	return routes
}
