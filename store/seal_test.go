package store

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// Whatever differs in two endpoints, they are not the same; a field that is new is none that is forgotten.
func TestSameEndpointSeesEveryField(t *testing.T) {
	e := testEndpoint(hostA, 1)
	e.Sig = nil
	if again := e; !sameEndpoint(e, again) {
		t.Error("an endpoint differs from itself")
	}
	others := map[reflect.Type]any{
		reflect.TypeFor[int](): 7, reflect.TypeFor[string](): "other", reflect.TypeFor[netip.Addr](): netip.MustParseAddr("192.0.2.7"),
		reflect.TypeFor[[]string](): []string{"other"}, reflect.TypeFor[map[string]string](): map[string]string{"other": "x"},
		reflect.TypeFor[[]Port](): []Port{{Proto: "tcp", Port: 7}}, reflect.TypeFor[time.Time](): e.Since.Add(1),
		reflect.TypeFor[map[string]json.RawMessage](): map[string]json.RawMessage{"other": json.RawMessage("1")},
	}
	for field, value := range reflect.ValueOf(e).Fields() {
		if field.Name == "Sig" {
			continue // it is made of the rest
		}
		other := e
		set, ok := others[value.Type()]
		if !ok {
			t.Fatalf("%s: what is another %s?", field.Name, value.Type())
		}
		reflect.ValueOf(&other).Elem().FieldByIndex(field.Index).Set(reflect.ValueOf(set))
		if sameEndpoint(e, other) || sameEndpoint(other, e) {
			t.Errorf("%s is not looked at", field.Name)
		}
	}
}

// BenchmarkPlan is what the publisher does before it writes a new endpoint, on a host that has many.
func BenchmarkPlan(b *testing.B) {
	s := embeddedServer(b)
	cp, _ := tempCheckpoint(b)
	a, err := Open(s.config(b, hostA), cp, quietLog(b))
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	mustUpdate(b, cp, func(l *Local) {
		l.Identity = s.identity(b, hostA)
		for i := range 1000 {
			e := testEndpoint(hostA, i)
			e.ID, e.Addr = fmt.Sprintf("%064x", i), netip.AddrFrom4([4]byte{10, 42, byte(i >> 8), byte(i)})
			l.Endpoints[e.ID] = LocalEndpoint{Endpoint: e}
		}
	})
	for b.Loop() {
		if p := a.plan(nil); len(p.writes) != 1000 {
			b.Fatalf("%d writes", len(p.writes))
		}
	}
}
