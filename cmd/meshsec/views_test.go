package main

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/ipsec/handshake"
	"github.com/meshsec/meshsec/store"
)

func TestPeerStateIsTheHandshakesUnlessTheTunnelIsSilent(t *testing.T) {
	now := time.Now()
	up := handshake.PeerStatus{State: handshake.StateUp, LastHandshake: now.Add(-time.Hour)}
	h := store.Host{Name: "h2", Port: 4500}
	for _, c := range []struct {
		name          string
		s             handshake.PeerStatus
		heard         time.Time
		state, reason string
	}{
		{"heard just now", up, now, "up", ""},
		{"silent for long", up, now.Add(-5 * time.Minute), "silent", "nothing came back for 5m0s"},
		{"just shaken, not heard yet", handshake.PeerStatus{State: handshake.StateUp, LastHandshake: now}, time.Time{}, "up", ""},
		{"under way", handshake.PeerStatus{State: handshake.StateStarting, Reason: "no answer"}, time.Time{}, "starting", "no answer"},
		{"not a peer of the handshake", handshake.PeerStatus{}, time.Time{}, "waiting", "no handshake key or no underlay address"},
	} {
		state, reason := peerState(c.s, h, c.heard, now)
		if state != c.state || !strings.Contains(reason, c.reason) || (c.reason == "") != (reason == "") {
			t.Errorf("%s: %q, %q", c.name, state, reason)
		}
	}
}

func TestMetricsShowTheViews(t *testing.T) {
	m := newMetrics(shown{control.Degraded})
	m.observe("NetworkDriver.Join", time.Millisecond, nil)
	got, err := testutil.GatherAndCount(m.registry, "meshsec_peer_up", "meshsec_peer_bytes_total", "meshsec_plugin_call_seconds", "meshsec_health")
	if err != nil {
		t.Fatal(err)
	}
	if want := 2 + 4 + 1 + 3; got != want {
		t.Errorf("%d series, want %d", got, want)
	}
}

func TestSizesAndAges(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 5 << 30: "5.0 GiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %s", n, got)
		}
	}
	for d, want := range map[time.Duration]string{0: "now", 30 * time.Second: "30s ago", 90 * time.Minute: "1h ago", 72 * time.Hour: "3d ago"} {
		if got := age(time.Now().Add(-d)); got != want {
			t.Errorf("age(%v) = %s, want %s", d, got, want)
		}
	}
	if age(time.Time{}) != "never" {
		t.Error(age(time.Time{}))
	}
}
