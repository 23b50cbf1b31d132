package testnet_test

import (
	"testing"

	"github.com/meshsec/meshsec/internal/testnet"
)

func TestDifference(t *testing.T) {
	if d := testnet.Difference("a\nb\nc", "a\nc\nd"); d != "- b\n+ d\n" {
		t.Errorf("%q", d)
	}
	if d := testnet.Difference("a", "a"); d != "" {
		t.Errorf("%q", d)
	}
}
