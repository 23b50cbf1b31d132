package ipam

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

// describe is what the driver does when it has learnt whose an address is.
func (r *rig) describe(id string, addr netip.Addr, name, container string) {
	r.update(func(l *store.Local) {
		k := store.AddrKey{Network: l.Pools[id].Network, Addr: addr}
		lease := l.Leases[k]
		lease.Name, lease.Container = name, container
		l.Leases[k] = lease
	})
}

// 20.10 does not say who asks.
func TestANamelessContainerGetsItsLastAddressBack(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	var asked []string
	answer := func() (string, string) { return "", "" }
	r.starting = func(_ context.Context, former []store.Lease) (string, string) {
		for _, lease := range former {
			asked = append(asked, lease.Name)
		}
		slices.Sort(asked)
		return answer()
	}
	r.open()
	id := r.network("", "")
	web, db := r.mustAddress(id, ""), r.mustAddress(id, "")
	if asked != nil {
		t.Errorf("asked about %q, though nobody has left an address", asked)
	}
	r.describe(id, web, "web", "c1")
	r.describe(id, db, "db", "c2")
	r.release(id, web)
	r.release(id, db)
	for name, c := range map[string]struct {
		container, called string
		want              netip.Addr
	}{
		"the same container":              {"c2", "db", db},
		"the same one, renamed meanwhile": {"c1", "www", web},
		"another one of the same name":    {"c3", "db", db},
	} {
		asked = nil
		answer = func() (string, string) { return c.container, c.called }
		got := r.mustAddress(id, "")
		if got != c.want || !slices.Equal(asked, []string{"db", "web"}) {
			t.Errorf("%s: got %v, not %v; asked about %q", name, got, c.want, asked)
		}
		lease := r.Local().Leases[store.AddrKey{Network: "default", Addr: got}]
		if lease.Container != c.container || lease.Name != c.called {
			t.Errorf("%s: %+v", name, lease)
		}
		r.describe(id, web, "web", "c1")
		r.describe(id, db, "db", "c2")
		r.release(id, c.want)
	}
	answer = func() (string, string) { return "", "" }
	if got := r.mustAddress(id, ""); got == web || got == db {
		t.Errorf("%v went to nobody known, and it waits for its container", got)
	}
	asked = nil
	if got := r.mustAddress(id, "", endpointName, "web"); got != web || asked != nil {
		t.Errorf("got %v; asked about %q, though the name was there", got, asked)
	}
}

// Two containers want one address: who is first has it, the other one gets another and keeps that.
func TestContainersThatCompeteForAnAddress(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	id := r.network("", "")
	web := r.mustAddress(id, "", endpointName, "web")
	r.release(id, web)
	if got := r.mustAddress(id, "", endpointName, "web"); got != web {
		t.Fatalf("got %v, not %v", got, web)
	}
	second := r.mustAddress(id, "", endpointName, "web") // the old one was renamed, and is still running
	if second == web {
		t.Fatal("twice")
	}
	r.release(id, web)
	r.clock.Advance(1)
	r.release(id, second)
	if got := r.mustAddress(id, "", endpointName, "web"); got != second {
		t.Errorf("got %v, not %v, which it had last", got, second)
	}
}

func TestAForgetfulNetworkGivesNothingBack(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	r.starting = func(context.Context, []store.Lease) (string, string) {
		t.Error("asked who it is, and it makes no difference")
		return "", ""
	}
	r.open()
	id := r.network("", "")
	r.update(func(l *store.Local) {
		for k, n := range l.Networks {
			n.Forgetful = true
			l.Networks[k] = n
		}
	})
	web := r.mustAddress(id, "", endpointName, "web")
	r.release(id, web)
	for _, options := range [][]string{{endpointName, "web"}, nil} {
		if got := r.mustAddress(id, "", options...); got == web {
			t.Error("the address did not rest")
		}
	}
}
