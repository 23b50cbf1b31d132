package testnet

import (
	"errors"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/internal/engines"
)

// TestOnlyOnePanicIsForgiven: a start is repeated after the panic in libnetwork.New, and after no other end of dockerd.
func TestOnlyOnePanicIsForgiven(t *testing.T) {
	const (
		message = "level=info msg=\"Starting up\"\npanic: runtime error: invalid memory address or nil pointer dereference\n[signal SIGSEGV]\n\n"
		inNew   = "goroutine 1 [running]:\ngithub.com/docker/libnetwork.New(0xc000, 0x9, 0x10)\n\t/build/controller.go:204 +0x1d7\n"
		other   = "goroutine 7 [running]:\ngithub.com/docker/docker/daemon.(*Daemon).restore(0xc000)\n\t/build/daemon.go:1 +0x1\n"
	)
	for _, c := range []struct {
		name, out string
		forgiven  bool
	}{
		{"in libnetwork.New", message + inNew + "\n" + other, true},
		{"elsewhere, with libnetwork.New on another stack", message + other + "\n" + inNew, false},
		{"created by libnetwork.New", message + other + "created by github.com/docker/libnetwork.New\n\t/build/controller.go:1\n", false},
		{"no panic", "level=fatal msg=\"libnetwork.New(\"\n", false},
	} {
		if err := ended("h1", c.out); errors.Is(err, errPanic) != c.forgiven {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestUnknownEngine: the error of a wrong engine says which there are.
func TestUnknownEngine(t *testing.T) {
	t.Setenv(engines.Variable, "28")
	_, err := EngineName()
	for _, word := range append(engines.Names, engines.Variable+"=28") {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("no %q in %v", word, err)
		}
	}
}
