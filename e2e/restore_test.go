package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// TestRestoredFounder: the first host is lost with all its state and comes back from a backup of that. What others did since the backup
// they tell it again, and it has its authority.
func TestRestoredFounder(t *testing.T) {
	s := special(t, testnet.Options{Hosts: 3})
	ctx := t.Context()
	founder, member, late := s.Hosts[0], s.Hosts[1], s.Hosts[2]
	agent := startAgent(t, founder)
	join := func(h *testnet.Host) {
		t.Helper()
		token, err := founder.Token(ctx)
		if err != nil {
			t.Fatal(err)
		}
		startAgent(t, h, "JOIN="+token)
	}
	join(member)
	endpoint := func(e *testnet.Engine, i int) netip.Addr {
		t.Helper()
		addr, err := e.CreateEndpoint(ctx, i)
		if err != nil {
			t.Fatal(err)
		}
		return addr.Addr()
	}
	far := testnet.NewEngine(member)
	if err := far.CreateNetwork(ctx); err != nil {
		t.Fatal(err)
	}
	addrs := []netip.Addr{endpoint(far, 0)}

	backup := filepath.Join(t.TempDir(), "backup")
	if err := agent.Stop(ctx, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	copyDisk(t, stateOf(founder), backup)
	agent = startAgent(t, founder)
	near := testnet.NewEngine(founder)
	if err := near.CreateNetwork(ctx); err != nil {
		t.Fatal(err)
	}
	forgotten := endpoint(near, 0)
	addrs = append(addrs, endpoint(far, 1))
	expect(t, founder, member, "up", "")

	if err := agent.Stop(ctx, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := founder.Meshsec(ctx, "purge", "--state", "--state-dir", founder.Data("meshsec")); err != nil {
		t.Fatal(err)
	}
	copyDisk(t, backup, stateOf(founder))
	startAgent(t, founder)
	if err := near.CreateNetwork(ctx); err != nil {
		t.Fatal(err)
	}
	join(late)
	addrs = append(addrs, endpoint(far, 2), endpoint(near, 1))
	for _, h := range s.Hosts {
		eventually(t, "the facts on "+h.Name, func() error {
			var status control.Status
			if err := h.MeshsecJSON(ctx, &status, "status"); err != nil {
				return err
			}
			if status.Health != control.OK {
				return fmt.Errorf("%s: %v", status.Health, status.Problems)
			}
			for _, addr := range addrs {
				if _, err := known(ctx, h, addr); err != nil {
					return err
				}
			}
			if _, err := known(ctx, h, forgotten); err == nil && addrs[3] != forgotten {
				return errors.New("there is an endpoint that nobody has")
			}
			return nil
		})
	}
	expect(t, founder, member, "up", "")
	expect(t, member, founder, "up", "")
}
