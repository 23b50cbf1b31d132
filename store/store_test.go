package store

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestStorePropagatesAnEndpoint(t *testing.T) {
	s := embeddedServer(t)
	a, b := s.join(t, hostA), s.join(t, hostB)
	e := testEndpoint(hostA, 2)
	mustUpdate(t, a.cp, func(l *Local) { l.Endpoints[e.ID] = LocalEndpoint{Endpoint: e} })
	b.await(t, "the endpoint", func(snap *Snapshot) bool {
		got, ok := snap.Endpoint(e.Key())
		return ok && got.MAC == e.MAC
	})
	mustUpdate(t, a.cp, func(l *Local) { delete(l.Endpoints, e.ID) })
	b.await(t, "its end", func(snap *Snapshot) bool { return snap.EndpointCount() == 0 })
}

func TestStoreWithoutEtcd(t *testing.T) {
	s := embeddedServer(t)
	s.stop()
	cp, _ := tempCheckpoint(t)
	m := s.joinWith(t, hostA, cp)
	ctx, cancel := context.WithTimeout(context.Background(), callBudget/4)
	defer cancel()
	_, err := m.ClaimBlock(ctx, BlockKey{"default", netip.MustParsePrefix("10.42.64.0/26")})
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), s.endpoints[0]) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v, want ErrUnreachable that names %s and the cause", err, s.endpoints[0])
	}
	eventually(t, "bad health", func() bool {
		ok, why := m.Healthy()
		return !ok && strings.Contains(why, "refused")
	})
	if !m.Snapshot().Empty() {
		t.Error("a snapshot without etcd")
	}
	s.start(t)
	m.await(t, "the first list", func(snap *Snapshot) bool { return !snap.Empty() })
	eventually(t, "good health", func() bool { ok, _ := m.Healthy(); return ok })
}
