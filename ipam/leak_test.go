package ipam

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/meshsec/meshsec/store"
)

const century = 36525 * memory

// noLeak checks that etcd has what the hosts hold, and that those hold what their containers have, and when they end nothing.
func (f *director) noLeak() {
	for _, d := range f.hosts {
		d.close() // or it takes blocks ahead of need
		d.compare()
	}
	f.agree()
	for _, d := range f.hosts {
		d.clock.Advance(century) // whatever the steps of the clock were
		f.sweep(d)
		d.holdsOnlyItsOwn()
		for len(d.live) > 0 {
			d.rm(f.Rand)
		}
		d.clock.Advance(century)
		f.sweep(d)
		f.sweep(d)
		if l := d.Local(); len(l.Blocks)+len(l.Statics)+len(l.Endpoints) > 0 || len(l.Leases) != 1 { // the gateway's
			f.fleet.t.Errorf("leaked on host %s: blocks %v, static %v, endpoints %v, leases %v", d.name, l.Blocks, l.Statics, l.Endpoints, l.Leases)
		}
	}
	f.agree()
}

func (d *docker) holdsOnlyItsOwn() {
	l := d.Local()
	have := map[netip.Addr]bool{}
	for id, e := range l.Endpoints {
		have[e.Addr] = true
		if c, ok := d.live[id]; !ok || c.addr != e.Addr {
			d.fleet.t.Errorf("leaked on host %s: endpoint with %v", d.name, e.Addr)
		}
	}
	for k, lease := range l.Leases {
		if lease.Kind == store.LeaseEndpoint && lease.Freed.IsZero() && !have[k.Addr] {
			d.fleet.t.Errorf("leaked on host %s: the lease of %v: %+v", d.name, k.Addr, lease)
		}
	}
	for k := range l.Statics {
		if !have[k.Addr] {
			d.fleet.t.Errorf("leaked on host %s: the claim of %v", d.name, k.Addr)
		}
	}
	if veths, _ := d.links.Veths(); len(veths) != len(d.live) {
		d.fleet.t.Errorf("host %s has %d containers and %d veths", d.name, len(d.live), len(veths))
	}
}

// agree waits until every host's facts are what all hosts hold.
func (f *director) agree() {
	f.fleet.t.Helper()
	blocks, statics, endpoints := map[store.BlockKey]string{}, map[store.AddrKey]string{}, map[store.EndpointKey]bool{}
	for _, d := range f.hosts {
		l := d.Local()
		for k := range l.Blocks {
			blocks[k] = d.ID
		}
		for k := range l.Statics {
			statics[k] = d.ID
		}
		for _, e := range l.Endpoints {
			endpoints[e.Key()] = true
		}
	}
	for _, d := range f.hosts {
		wrong := ""
		waitLong(f.fleet.t, func() bool {
			wrong = differs(d.Store.Snapshot(), blocks, statics, endpoints)
			return wrong == ""
		})
		if wrong != "" {
			f.fleet.t.Fatalf("host %s: %s", d.name, wrong)
		}
	}
}

// differs names one thing in which the facts are not what the hosts hold.
func differs(snap *store.Snapshot, blocks map[store.BlockKey]string, statics map[store.AddrKey]string, endpoints map[store.EndpointKey]bool) string {
	for k, c := range snap.Blocks {
		if blocks[k] != c.Host {
			return fmt.Sprintf("block %v is host %s's, but host %q holds it (%q)", k, c.Host, blocks[k], snap.Bad["blocks/"+k.Network+"/"+k.Prefix.String()])
		}
	}
	for k, c := range snap.Statics {
		if statics[k] != c.Host {
			return fmt.Sprintf("address %v is host %s's, but host %q holds it (%q)", k, c.Host, statics[k], snap.Bad["static/"+k.Network+"/"+k.Addr.String()])
		}
	}
	for k := range endpoints {
		if _, ok := snap.Endpoint(k); !ok {
			return fmt.Sprintf("endpoint %v is missing", k)
		}
	}
	if snap.EndpointCount() != len(endpoints) || len(snap.Blocks) != len(blocks) || len(snap.Statics) != len(statics) {
		return fmt.Sprintf("%d endpoints, %d blocks and %d addresses, but the hosts hold %d, %d and %d", snap.EndpointCount(), len(snap.Blocks),
			len(snap.Statics), len(endpoints), len(blocks), len(statics))
	}
	return ""
}

// waitLong waits for a condition for a minute at most.
func waitLong(t *testing.T, ok func() bool) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(time.Minute); !ok(); {
		select {
		case <-ticker.C:
		case <-deadline:
			return
		case <-t.Context().Done():
			return
		}
	}
}
