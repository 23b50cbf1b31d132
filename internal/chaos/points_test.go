package main

import (
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

// TestCrashPoints kills an agent before each third of its writes, from one of the first three on; `make crash` takes all.
func TestCrashPoints(t *testing.T) {
	needRoot(t)
	if runtime.GOARCH != "amd64" {
		t.Skip("system calls are traced on amd64 only")
	}
	var out strings.Builder
	first := 1 + rand.IntN(3)
	count, err := points(t.Context(), &out, options{plane: "auto"}, first, 3)
	t.Log(out.String())
	if err != nil {
		t.Error(err)
	}
	// A start and a container take more than a hundred; with a tenth of that something is not seen.
	if count < 20 {
		t.Errorf("%d crash points", count)
	}
}
