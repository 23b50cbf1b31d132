package testnet

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
)

// errPanic is the panic that engine 20.10 has once in hundreds of starts, while it makes its network drivers.
var errPanic = errors.New("dockerd's own panic in libnetwork.New")

var (
	repeatsLock sync.Mutex
	repeats     int
)

// repeated prints that a start of dockerd is repeated, and how many were until now.
func repeated(reason error) {
	repeatsLock.Lock()
	defer repeatsLock.Unlock()
	repeats++
	fmt.Fprintln(os.Stderr, reason)
	fmt.Printf("engine: %d starts repeated after %v\n", repeats, errPanic)
}

// ended says why a dockerd ended, from what it printed.
func ended(host, out string) error {
	_, trace, panicked := strings.Cut("\n"+out, "\npanic: ")
	if !panicked {
		return fmt.Errorf("%s: dockerd ended: %s", host, tail(out, 5))
	}
	_, stack, _ := strings.Cut(trace, "\n\ngoroutine ") // the first of them panicked
	stack, _, _ = strings.Cut(stack, "\n\n")
	if strings.Contains(stack, "libnetwork.New(") {
		return fmt.Errorf("%s: %w: %.2000s", host, errPanic, trace)
	}
	return fmt.Errorf("%s: dockerd ended: panic: %.2000s", host, trace)
}
