package e2e

import (
	"context"
	"testing"

	"github.com/meshsec/meshsec/internal/testnet"
)

// removeNetwork removes a Docker network at the end of a test, after its containers.
func removeNetwork(t *testing.T, h *testnet.Host, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), cleanup)
	defer cancel()
	if _, err := h.Docker(ctx, "network", "rm", name); err != nil {
		t.Error(err)
	}
}
