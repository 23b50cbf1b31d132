package e2e

import (
	"context"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// TestAgentByHand: `meshsec agent` beside Docker does what the managed plugin does, in one mesh with it, also when the disk
// of its state is full.
func TestAgentByHand(t *testing.T) {
	s := own(t, 2)
	ctx := t.Context()
	managed, byHand := s.Hosts[0], s.Hosts[1]
	if err := managed.InstallPlugin(ctx); err != nil {
		t.Fatal(err)
	}
	token, err := managed.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	smallDisk(t, byHand, 32*megabyte)
	agent := startAgent(t, byHand, "JOIN="+token)
	for _, h := range s.Hosts {
		if err := createMesh(ctx, h); err != nil {
			t.Fatal(err)
		}
	}
	a, b := start(t, managed, mesh, "one"), start(t, byHand, mesh, "two")
	s.reach(t, a, b.Addr)
	if _, err := b.Transfer(ctx, s.watch.Canary, a.Addr, megabyte); err != nil {
		t.Error(err)
	}
	flow, err := a.StartFlow(ctx, s.watch.Canary, b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { flow.Stop() })
	for _, sig := range []unix.Signal{unix.SIGKILL, unix.SIGTERM} {
		if err := agent.Stop(ctx, sig); err != nil {
			t.Fatal(err)
		}
		agent = startAgent(t, byHand) // who it is, it knows
		if err := flow.Goes(ctx, patience); err != nil {
			t.Errorf("after %v: %v", sig, err)
		}
	}
	stateDisk(t, s, agent, a, b)
	remove(t, byHand, "two") // while the last agent runs: without one Docker waits a minute
}

// TestAgentRefusesSettings: an unknown setting is named, with those that are known, in every answer.
func TestAgentRefusesSettings(t *testing.T) {
	s := own(t, 1)
	startAgent(t, s.Hosts[0], "COLOUR=blue")
	refused(t, s.Hosts[0], []string{"COLOUR", "ADVERTISE"}, with(mesh)...)
}

// startAgent runs the agent for the test's duration and returns when its socket answers.
func startAgent(t *testing.T, h *testnet.Host, settings ...string) *testnet.Process {
	t.Helper()
	p, err := h.StartAgent(settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(p.Output())
		}
		ctx, cancel := context.WithTimeout(context.Background(), cleanup)
		defer cancel()
		if err := p.Stop(ctx, unix.SIGTERM); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the agent", func() error {
		select {
		case <-p.Done():
			return testnet.Final(fmt.Errorf("it ended: %s", p.Output()))
		default:
		}
		var status control.Status
		return h.MeshsecJSON(t.Context(), &status, "status")
	})
	return p
}
