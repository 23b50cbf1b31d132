package directory

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/store"
)

var both = []string{"default", "shop"}

func addrsOf(entries []*Entry) string {
	var list []string
	for _, e := range entries {
		list = append(list, e.Addr.String())
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func (d *Directory) mustFind(t *testing.T, name string, networks []string, want string) {
	t.Helper()
	found, exists := d.Find(name, networks)
	if got := addrsOf(found); got != want || (want != "" && !exists) {
		t.Errorf("%s in %v: %q (exists %v), want %q", name, networks, got, exists, want)
	}
}

func TestNamesOfAnEndpoint(t *testing.T) {
	e := store.Endpoint{Name: "shop_Web_1", Aliases: []string{"web", "www.example.test", "a..b", strings.Repeat("x", 64), "spa ce", "*"}, Service: "web", Project: "shop"}
	want := []string{"shop_web", "shop_web_1", "tasks.shop_web", "tasks.web", "web", "web.shop", "www.example.test"}
	if got := Names(e); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Names(store.Endpoint{}); len(got) != 0 {
		t.Errorf("an endpoint without names: %q", got)
	}
}

func TestOnlyTheAskersNetworks(t *testing.T) {
	w := newWorld(3)
	w.claim("default", "10.42.64.0/26", host(1))
	w.claim("shop", "10.43.64.0/26", host(2))
	w.put(at("default", "10.42.64.2", host(1), "web"))
	w.put(at("shop", "10.43.64.2", host(2), "web"))
	d := w.next(New(host(0)))
	d.mustFind(t, "web", both, "10.42.64.2 10.43.64.2")
	d.mustFind(t, "web", both[:1], "10.42.64.2")
	d.mustFind(t, "web", nil, "")
	if d.At(netip.MustParseAddr("10.43.64.2"), both[:1]) != nil || d.At(netip.MustParseAddr("10.43.64.2"), both) == nil {
		t.Error("an address of another network was found, or one of the own was not")
	}
	if got := addrsOf(d.Endpoints(both[1:])); got != "10.43.64.2" {
		t.Errorf("endpoints %s", got)
	}
}

// TestANameIsThereWithItsRoute: an endpoint without a claim of its host is not routed, so it has no name either; it gets one
// with the claim, and loses it with the claim, the network or the host.
func TestANameIsThereWithItsRoute(t *testing.T) {
	w := newWorld(2)
	e := w.put(at("default", "10.42.64.2", host(1), "web"))
	d := w.next(New(host(0)))
	d.mustFind(t, "web", both, "")
	w.claim("default", "10.42.64.0/26", host(1))
	d = w.next(d)
	d.mustFind(t, "web", both, "10.42.64.2")
	w.claim("default", "10.42.64.0/26", host(0)) // another's now
	d = w.next(d)
	d.mustFind(t, "web", both, "")
	w.claim("default", "10.42.64.0/26", host(1))
	d = w.next(d)
	gateway := w.put(at("default", "10.42.0.1", host(1), "gw"))
	w.claim("default", "10.42.0.0/26", host(1))
	d = w.next(d)
	d.mustFind(t, "gw", both, "")
	w.del(gateway.Key())
	old := d
	w.del(e.Key())
	d = w.next(d)
	d.mustFind(t, "web", both, "")
	old.mustFind(t, "web", both, "10.42.64.2") // what was handed out stays as it was
	if d.Len() != 0 || old.Len() != 1 {
		t.Errorf("%d and %d entries", d.Len(), old.Len())
	}
}

func TestLostHostsHoldNoNames(t *testing.T) {
	w := newWorld(3)
	for i, addr := range []string{"10.42.64.2", "10.42.65.2"} {
		w.claim("default", addr[:8]+".0/26", host(i+1))
		w.put(at("default", addr, host(i+1), "web"))
	}
	d := w.next(New(host(0)), host(1))
	d.mustFind(t, "web", both, "10.42.65.2")
	d = w.next(d, host(1), host(2))
	if found, exists := d.Find("web", both); len(found) != 0 || !exists {
		t.Error("all hosts lost: the name is there, its addresses are not", found, exists)
	}
	w.next(d).mustFind(t, "web", both, "10.42.64.2 10.42.65.2")
}

func TestNamesBelow(t *testing.T) {
	w := newWorld(2)
	e := at("default", "10.42.64.2", host(0), "a.b.c")
	w.own(e, "s")
	d := w.next(New(host(0)))
	for name, want := range map[string]bool{"a.b.c": true, "b.c": true, "c": true, "b": false, "x.c": false} {
		if _, exists := d.Find(name, both); exists != want {
			t.Errorf("%s exists: %v", name, exists)
		}
		if _, exists := d.Find(name, both[1:]); exists {
			t.Errorf("%s exists for those in another network", name)
		}
	}
}

func TestAskers(t *testing.T) {
	w := newWorld(1)
	id := strings.Repeat("ab", 32)
	for i, addr := range []string{"10.43.64.2", "10.42.64.2"} {
		e := at(both[1-i], addr, "", "web")
		e.ContainerID = id
		w.own(e, "box")
	}
	w.own(at("shop", "10.43.64.3", "", "other"), "")
	d := w.next(New(host(0)))
	a := d.Asker(netip.MustParseAddr("10.43.64.2"))
	if a == nil || !slices.Equal(a.Networks, both) || len(a.Own) != 2 || a.Network != "shop" {
		t.Fatalf("%+v", a)
	}
	if o := d.Asker(netip.MustParseAddr("10.43.64.3")); o == nil || !slices.Equal(o.Networks, both[1:]) {
		t.Errorf("%+v", o)
	}
	if d.Asker(netip.MustParseAddr("10.42.64.9")) != nil {
		t.Error("a stranger is somebody")
	}
	for word, n := range map[string]int{"web": 2, id[:12]: 2, id: 2, "10.43.64.3": 1, id[:11]: 0, "x": 0, "": 3} {
		if got := d.Askers(word); len(got) != n {
			t.Errorf("%s: %d askers, want %d", word, len(got), n)
		}
	}
}

// TestWhoMayReachTheOutside: one network that is not internal is enough; one that is not known is none.
func TestWhoMayReachTheOutside(t *testing.T) {
	w := newWorld(1)
	w.local.Networks = map[string]store.LocalNetwork{"open": {}, "shut": {Internal: true}}
	for i, c := range []struct {
		docker  []string // the container's networks
		outside bool
	}{{[]string{"open"}, true}, {[]string{"shut"}, false}, {[]string{"shut", "open"}, true}, {[]string{"open", "shut"}, true}, {[]string{"shut", "shut"}, false}, {[]string{"unknown"}, false}} {
		var addrs []netip.Addr
		for j, docker := range c.docker {
			e := at(both[j], fmt.Sprintf("10.%d.0.%d", 42+j, 2+i), "", "box")
			e.ID = fmt.Sprint(i, j)
			w.own(e, fmt.Sprint("box", i))
			own := w.local.Endpoints[e.ID]
			own.DockerNetwork = docker
			w.local.Endpoints[e.ID] = own
			addrs = append(addrs, e.Addr)
		}
		d := w.next(New(host(0)))
		for _, addr := range addrs {
			if a := d.Asker(addr); a == nil || a.Outside != c.outside {
				t.Errorf("on %v, asking from %s: %+v", c.docker, addr, a)
			}
		}
	}
}

func TestVersionChangesWithWhatIsSeen(t *testing.T) {
	w := newWorld(2)
	w.claim("default", "10.42.64.0/26", host(1))
	w.claim("shop", "10.43.64.0/26", host(1))
	w.own(at("default", "10.42.0.2", "", "me"), "s")
	asker := func(d *Directory) *Asker { return d.Asker(netip.MustParseAddr("10.42.0.2")) }
	d := w.next(New(host(0)))
	seen := d.Version(asker(d))
	step := func(what string, changes bool, next *Directory) {
		t.Helper()
		d = next
		now := d.Version(asker(d))
		if (now != seen) != changes {
			t.Errorf("%s: version %s, then %s", what, seen, now)
		}
		if again := w.next(New(host(0)), lostOf(d)...); again.Version(asker(again)) != now {
			t.Errorf("%s: another host, or this one after a restart, calls it %s", what, again.Version(asker(again)))
		}
		seen = now
	}
	step("nothing", false, w.next(d))
	e := w.put(at("shop", "10.43.64.2", host(1), "web"))
	step("another network's endpoint", false, w.next(d))
	f := w.put(at("default", "10.42.64.2", host(1), "web"))
	step("an endpoint", true, w.next(d))
	f.Labels = map[string]string{"a": "b"}
	w.put(f)
	step("a label", true, w.next(d))
	w.put(at("default", "10.42.99.2", host(1), "web"))
	step("an endpoint without claim", false, w.next(d))
	w.del(e.Key())
	step("another network's endpoint gone", false, w.next(d))
	step("a host lost", true, w.next(d, host(1)))
	w.del(f.Key())
	step("an endpoint gone", true, w.next(d, host(1)))
}

func lostOf(d *Directory) (list []string) {
	for h := range d.lost {
		list = append(list, h)
	}
	return list
}

func TestBoard(t *testing.T) {
	b := NewBoard(New(host(0)))
	first, next := b.Now()
	select {
	case <-next:
		t.Fatal("a later one without Set")
	default:
	}
	b.Set(newWorld(1).next(first))
	<-next
	if now, _ := b.Now(); now == first || len(now.Hosts("h0")) != 1 {
		t.Error("not the latest")
	}
}
