package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/internal/testnet"
)

// start starts a container on the host for the test's duration.
func start(t *testing.T, h *testnet.Host, network, name string, flags ...string) *testnet.Container {
	t.Helper()
	c, err := h.StartContainer(t.Context(), network, name, flags...)
	t.Cleanup(func() { remove(t, h, name) })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// remove removes containers, if they are there.
func remove(t *testing.T, h *testnet.Host, names ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), cleanup)
	defer cancel()
	_, err := h.Docker(ctx, append([]string{"rm", "-f"}, names...)...)
	if err != nil && !strings.Contains(err.Error(), "No such container") {
		t.Error(err)
	}
}

// reach pings until an answer comes, and fails the test if none does.
func (s *suite) reach(t *testing.T, from *testnet.Container, to netip.Addr) {
	t.Helper()
	err := testnet.Until(t.Context(), patience, func() error {
		_, err := from.Ping(t.Context(), s.watch.Canary, to, 1)
		return err
	})
	if err != nil {
		t.Fatalf("%s on %s does not reach %s: %v", from.Name, from.Host.Name, to, err)
	}
}

// eventually fails the test when the condition does not come true in time.
func eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	if err := testnet.Until(t.Context(), patience, condition); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// refused fails the test unless docker, run on the host, fails with all the words.
func refused(t *testing.T, h *testnet.Host, words []string, args ...string) {
	t.Helper()
	if err := refusal(t, h, words, args...); err != nil {
		t.Error(err)
	}
}

// refusal is an error unless docker, run on the host, fails with all the words.
func refusal(t *testing.T, h *testnet.Host, words []string, args ...string) error {
	_, err := h.Docker(t.Context(), args...)
	if err == nil {
		return fmt.Errorf("docker %s: accepted", strings.Join(args, " "))
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			return fmt.Errorf("docker %s: error without %q: %w", strings.Join(args, " "), word, err)
		}
	}
	return nil
}

// removeNetwork removes a Docker network at the end of a test, after its containers.
func removeNetwork(t *testing.T, h *testnet.Host, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), cleanup)
	defer cancel()
	if _, err := h.Docker(ctx, "network", "rm", name); err != nil {
		t.Error(err)
	}
}
