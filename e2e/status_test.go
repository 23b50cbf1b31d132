package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/control"
)

// TestCommands: each read command answers in words and, with --json, in JSON, and names what is there.
func TestCommands(t *testing.T) {
	s := shared(t)
	h := s.Hosts[1]
	near, far := start(t, h, mesh, "near"), start(t, s.Hosts[0], mesh, "far", "--ip", "10.42.4.4")
	s.reach(t, near, far.Addr)
	eventually(t, "both endpoints", func() error {
		text, err := h.Meshsec(t.Context(), "endpoints")
		if err == nil && (!strings.Contains(text, "near") || !strings.Contains(text, "far")) {
			err = fmt.Errorf("%s", text)
		}
		return err
	})
	eventually(t, "health", func() error { return answers(t, h) }) // an earlier test may have been hard on it
	for command, words := range map[string][]string{
		"status":    {"ok", "h2", planeOf(t, h), "172.30.0.2", "1438", "/run/meshsec/router"},
		"hosts":     {"h1", "h2", "h3", "172.30.0.1", planeOf(t, s.Hosts[0])},
		"peers":     {"h1", "h3", "up", "172.30.0.1", planeOf(t, s.Hosts[0])},
		"networks":  {"default", "10.42.0.0/16", "10.42.0.1"},
		"endpoints": {near.Addr.String(), near.MAC, "10.42.4.4", "h1", "h2"},
		"blocks":    {"default", "/26", "10.42.4.4", "h1"},
		"version":   {"go1."},
	} {
		t.Run(command, func(t *testing.T) {
			text, err := h.Meshsec(t.Context(), command)
			if err != nil {
				t.Errorf("%v: %s", err, text)
			}
			encoded, err := h.Meshsec(t.Context(), command, "--json")
			if err != nil || !json.Valid([]byte(encoded)) {
				t.Errorf("--json: %v: %s", err, encoded)
			}
			for _, word := range words {
				if !strings.Contains(text, word) {
					t.Errorf("%q is missing in\n%s", word, text)
				}
				if command != "version" && !strings.Contains(encoded, word) {
					t.Errorf("%q is missing in\n%s", word, encoded)
				}
			}
			t.Logf("\n%s", text)
		})
	}
	if out, err := h.Meshsec(t.Context(), "no-such-command"); err == nil {
		t.Errorf("an unknown command: %s", out)
	}
}

// TestPeers: each pair of hosts is up, with a handshake, a round-trip time, bytes, and a reason for the data plane.
func TestPeers(t *testing.T) {
	s := shared(t)
	for _, h := range s.Hosts {
		eventually(t, "peers of "+h.Name, func() error {
			var peers []control.Peer
			if err := h.MeshsecJSON(t.Context(), &peers, "peers"); err != nil {
				return err
			}
			if len(peers) != len(s.Hosts)-1 {
				return fmt.Errorf("%d peers", len(peers))
			}
			for _, p := range peers {
				if p.State != "up" || p.LastHandshake.IsZero() || p.RTT <= 0 || p.RxBytes == 0 || p.TxBytes == 0 || p.DataPlaneReason == "" {
					return fmt.Errorf("%+v", p)
				}
			}
			return nil
		})
	}
}
