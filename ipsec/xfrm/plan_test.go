package xfrm

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/ipsec"
)

var us = netip.MustParseAddr("192.0.2.1")

// peers a to e have if_ids 1 to 5; an SA of theirs is named by its SPI.
func peerAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}) }

// carry adds to w what peer i needs: a device, policies, and an SA pair, inbound n and outbound n+1.
func carry(w world, i int, n uint32) {
	id, peer := uint32(i+1), peerAddr(i)
	name := fmt.Sprintf("ms-%d", i)
	w.Devices[name] = device{Name: name, IfID: id, MTU: 1438, Up: true, Strict: true}
	w.States[stateKey{us, ipsec.SPI(n)}] = state{Src: peer, IfID: id, Cipher: ipsec.AES256GCM, SrcPort: 4500, DstPort: 4500}
	w.States[stateKey{peer, ipsec.SPI(n + 1)}] = state{Src: us, IfID: id, Cipher: ipsec.AES256GCM, SrcPort: 4500, DstPort: 4500}
	w.Policies[policyKey{in, id}] = policy{Src: peer, Dst: us}
	w.Policies[policyKey{fwd, id}] = policy{Src: peer, Dst: us}
	w.Policies[policyKey{out, id}] = policy{Src: us, Dst: peer, SPI: ipsec.SPI(n + 1)}
}

// model is a world with routes: prefix of peer i → device.
type model struct {
	world
	routes map[int]string
}

func (k *model) apply(s step, want world) {
	switch s.Verb {
	case addDevice, setDevice:
		k.Devices[s.Device.Name] = s.Device
	case delStray:
		delete(k.Strays, s.Device.Name)
	case delDevice:
		delete(k.Devices, s.Device.Name)
		maps.DeleteFunc(k.routes, func(_ int, dev string) bool { return dev == s.Device.Name })
	case addState:
		k.States[s.StateKey] = s.State
	case delState:
		delete(k.States, s.StateKey)
	case setPolicy:
		k.Policies[s.Key] = s.Policy
	case delPolicy:
		delete(k.Policies, s.Key)
	case setRoutes:
		k.routes = map[int]string{}
		for i := range 5 {
			name := fmt.Sprintf("ms-%d", i)
			if _, wanted := want.Devices[name]; wanted && k.Devices[name].Up {
				k.routes[i] = name
			}
		}
	}
}

// sealed gives the SA that a packet for peer i would be sealed with. The error is a leak: sealed for somebody else.
func (k *model) sealed(i int) (stateKey, bool, error) {
	dev, ok := k.Devices[k.routes[i]]
	if !ok || !dev.Up {
		return stateKey{}, false, nil // dies in the router
	}
	p, ok := k.Policies[policyKey{out, dev.IfID}]
	if !ok {
		return stateKey{}, false, nil // dropped by the interface
	}
	if p.Dst != peerAddr(i) {
		return stateKey{}, false, fmt.Errorf("packet for peer %d is sealed for %s", i, p.Dst)
	}
	key := stateKey{p.Dst, p.SPI}
	s, ok := k.States[key]
	if ok && s.IfID != dev.IfID {
		return stateKey{}, false, fmt.Errorf("packet for peer %d is sealed with an SA of if_id %d", i, s.IfID)
	}
	return key, ok, nil
}

func randomWorld(r *rand.Rand) world {
	w := newWorld()
	for i := range 5 {
		if r.IntN(4) == 0 {
			continue
		}
		carry(w, i, uint32(1000*(i+1)+10*r.IntN(3)))
		if r.IntN(2) == 0 { // one more inbound SA, as during a rekey
			w.States[stateKey{us, ipsec.SPI(1000*(i+1) + 500)}] = state{Src: peerAddr(i), IfID: uint32(i + 1), Cipher: ipsec.AES256GCM}
		}
	}
	return w
}

// damage takes things away, as an administrator or a crash would.
func damage(r *rand.Rand, w world) {
	for name, d := range w.Devices {
		switch r.IntN(6) {
		case 0:
			delete(w.Devices, name)
		case 1:
			d.Up = false
			w.Devices[name] = d
		case 2:
			d.IfID = 0
			w.Devices[name] = d
		case 3:
			delete(w.Devices, name)
			w.Strays[name] = d
		}
	}
	maps.DeleteFunc(w.States, func(stateKey, state) bool { return r.IntN(5) == 0 })
	maps.DeleteFunc(w.Policies, func(policyKey, policy) bool { return r.IntN(5) == 0 })
}

// check runs steps from have and reports the first broken promise.
func check(want, have world, steps []step) error {
	k := &model{world{maps.Clone(have.Devices), maps.Clone(have.Strays), maps.Clone(have.States), maps.Clone(have.Policies)}, map[int]string{}}
	for i := range 5 {
		if name := fmt.Sprintf("ms-%d", i); have.Devices[name].Up {
			k.routes[i] = name
		}
	}
	worked := map[int]bool{}
	for i := range 5 {
		if _, ok, err := k.sealed(i); err == nil && ok && have.Devices[k.routes[i]].IfID == uint32(i+1) {
			_, worked[i] = want.Devices[k.routes[i]]
		}
	}
	for n, s := range steps {
		k.apply(s, want)
		for i := range 5 {
			_, ok, err := k.sealed(i)
			if err != nil {
				return fmt.Errorf("after step %d, %s: %w", n, s, err)
			}
			if worked[i] && !ok {
				return fmt.Errorf("after step %d, %s: peer %d has lost its SA", n, s, i)
			}
		}
		for key, st := range have.States {
			if _, wanted := want.States[key]; wanted && want.States[key] == st {
				if _, there := k.States[key]; !there {
					return fmt.Errorf("after step %d, %s: wanted SA %v is gone", n, s, key)
				}
			}
		}
	}
	if len(k.Strays) > 0 || !maps.Equal(k.Devices, want.Devices) || !maps.Equal(k.States, want.States) || !maps.Equal(k.Policies, want.Policies) {
		return fmt.Errorf("ends at %v, want %v", k.world, want)
	}
	if again := plan(want, k.world); len(again) != 1 || again[0].Verb != setRoutes {
		return fmt.Errorf("the second plan is not empty: %v", again)
	}
	return nil
}

func TestAfterEveryStepNothingLeaksAndNoWantedPeerIsLost(t *testing.T) {
	for seed := range uint64(20000) {
		r := rand.New(rand.NewPCG(seed, 7))
		want, have := randomWorld(r), randomWorld(r)
		if r.IntN(2) == 0 {
			damage(r, have)
		}
		steps := plan(want, have)
		if err := check(want, have, steps); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text(steps))
		}
	}
}

// A test that can't fail proves nothing: with the order of two kinds of steps swapped, the property must break.
func TestTheOrderMatters(t *testing.T) {
	swap := func(name string, first, second func(verb) bool) {
		for seed := range uint64(2000) {
			r := rand.New(rand.NewPCG(seed, 7))
			want, have := randomWorld(r), randomWorld(r)
			steps := plan(want, have)
			slices.SortStableFunc(steps, func(a, b step) int {
				switch {
				case first(a.Verb) && second(b.Verb):
					return -1
				case second(a.Verb) && first(b.Verb):
					return 1
				}
				return 0
			})
			if check(want, have, steps) != nil {
				return
			}
		}
		t.Errorf("%s: nobody notices", name)
	}
	is := func(vs ...verb) func(verb) bool { return func(v verb) bool { return slices.Contains(vs, v) } }
	swap("SAs go before policies change", is(delState), is(setPolicy, addState, setRoutes))
	swap("policies before their SAs", is(setPolicy), is(addState))
	swap("policies go first", is(delPolicy, delState), is(addDevice, setRoutes, delDevice, setPolicy, addState))
}

func TestPlanInWords(t *testing.T) {
	have, want := newWorld(), newWorld()
	carry(have, 0, 1000)
	carry(have, 1, 2000)
	carry(want, 0, 1500)
	carry(want, 2, 3000)
	got := text(plan(want, have))
	expected := `link add ms-2 type xfrm if_id 0x3 mtu 1438 up
xfrm state add src 192.0.2.10 dst 192.0.2.1 spi 0x000005dc if_id 0x1 aes-256-gcm encap espinudp 4500 4500
xfrm state add src 192.0.2.12 dst 192.0.2.1 spi 0x00000bb8 if_id 0x3 aes-256-gcm encap espinudp 4500 4500
xfrm state add src 192.0.2.1 dst 192.0.2.10 spi 0x000005dd if_id 0x1 aes-256-gcm encap espinudp 4500 4500
xfrm state add src 192.0.2.1 dst 192.0.2.12 spi 0x00000bb9 if_id 0x3 aes-256-gcm encap espinudp 4500 4500
xfrm policy update dir in if_id 0x3 tmpl src 192.0.2.12 dst 192.0.2.1
xfrm policy update dir fwd if_id 0x3 tmpl src 192.0.2.12 dst 192.0.2.1
xfrm policy update dir out if_id 0x1 tmpl src 192.0.2.1 dst 192.0.2.10 spi 0x000005dd
xfrm policy update dir out if_id 0x3 tmpl src 192.0.2.1 dst 192.0.2.12 spi 0x00000bb9
route replace all
link del ms-1
xfrm policy delete dir in if_id 0x2
xfrm policy delete dir out if_id 0x2
xfrm policy delete dir fwd if_id 0x2
xfrm state delete dst 192.0.2.1 spi 0x000003e8
xfrm state delete dst 192.0.2.1 spi 0x000007d0
xfrm state delete dst 192.0.2.10 spi 0x000003e9
xfrm state delete dst 192.0.2.11 spi 0x000007d1
`
	if got != expected {
		t.Errorf("got:\n%s", got)
	}
}

func text(steps []step) string {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintln(&b, s)
	}
	return b.String()
}
