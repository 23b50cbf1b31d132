package freeport

import (
	"fmt"
	"net"
	"testing"
)

func TestNoPortTwice(t *testing.T) {
	given := map[int]bool{}
	for range 500 {
		port := Port(t)
		if given[port] {
			t.Fatalf("%d twice", port)
		}
		given[port] = true
	}
}

func TestAPortInUseIsNotGiven(t *testing.T) {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", Port(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 500 {
		if Port(t) == l.Addr().(*net.TCPAddr).Port {
			t.Fatal("given, though it is in use")
		}
	}
}
