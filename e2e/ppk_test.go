package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// TestPPK: agents whose PPK differs have no tunnel and say why on both sides; the key is changed on a running environment
// host by host, and never seen anywhere.
func TestPPK(t *testing.T) {
	s := special(t, testnet.Options{Hosts: 3})
	former, latter := strings.Repeat("5e", 32), strings.Repeat("7d", 32)
	file, err := s.Hosts[0].WriteEtc("ppk", []byte(former+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	agents := []*testnet.Process{startAgent(t, s.Hosts[0], "PPK="+file)}
	for i, ppk := range []string{former, ""} {
		token, err := s.Hosts[0].Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		agents = append(agents, startAgent(t, s.Hosts[i+1], "JOIN="+token, "PPK="+ppk))
	}
	one, two, three := s.Hosts[0], s.Hosts[1], s.Hosts[2]
	expect(t, one, two, "up", "")
	expect(t, one, three, "starting", "ppk differs: it has no PPK, this host has one")
	expect(t, three, two, "starting", "ppk differs: it has a PPK, this host has none")

	again := func(i int, settings ...string) {
		t.Helper()
		if err := agents[i].Stop(t.Context(), unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		agents[i] = startAgent(t, s.Hosts[i], settings...)
	}
	allUp := func() {
		t.Helper()
		for i, h := range s.Hosts {
			for j, other := range s.Hosts {
				if i != j {
					expect(t, h, other, "up", "")
				}
			}
		}
	}
	again(2, "PPK="+former)
	allUp()
	for _, settings := range [][]string{{"PPK=" + latter, "PPK_OLD=" + former}, {"PPK=" + latter}} {
		for i := range s.Hosts {
			again(i, settings...)
			allUp()
		}
	}
	for i, h := range s.Hosts {
		seen := agents[i].Output()
		for _, command := range []string{"status", "peers", "hosts"} {
			out, _ := h.Meshsec(t.Context(), command, "--json")
			seen += out
		}
		if seen = strings.ToLower(seen); strings.Contains(seen, former[:16]) || strings.Contains(seen, latter[:16]) {
			t.Errorf("%s shows a key", h.Name)
		}
	}
}

// expect waits until a host says so of another.
func expect(t *testing.T, h, of *testnet.Host, state, reason string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s says that %s is %s", h.Name, of.Name, state), func() error {
		var peers []control.Peer
		if err := h.MeshsecJSON(t.Context(), &peers, "peers"); err != nil {
			return err
		}
		for _, p := range peers {
			if p.Name != of.Name {
				continue
			}
			if p.State != state || !strings.Contains(p.Reason, reason) {
				return fmt.Errorf("%s: %s", p.State, p.Reason)
			}
			return nil
		}
		return errors.New("no such peer")
	})
}
