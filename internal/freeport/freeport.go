// Package freeport gives tests TCP ports of loopback that no other test has, in whatever process.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Port is one that nobody listens on. It is the test's until that ends, also while no server of it listens: the kernel gives
// such ports to no client, and a socket in the abstract namespace (unix(7)) tells the other tests.
func Port(t testing.TB) int {
	t.Helper()
	for range 200 {
		port := 12000 + rand.N(18000)
		mark, err := net.Listen("unix", fmt.Sprintf("@meshsec-test-port-%d", port))
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			mark.Close()
			continue
		}
		l.Close()
		t.Cleanup(func() { mark.Close() })
		return port
	}
	t.Fatal("no free port")
	return 0
}
