package main

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// needed are the capabilities without which no step of a start works: links, filters and routes; the router namespace.
var needed = []struct {
	bit  uint
	name string
}{{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}}

// checkCapabilities names what this process lacks (capabilities(7)); each step by itself would say "operation not permitted".
func checkCapabilities() error {
	var sets [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &sets[0]); err != nil {
		return fmt.Errorf("capabilities of the agent: %w", err)
	}
	return lacking(sets[0].Effective)
}

func lacking(effective uint32) error {
	var names []string
	for _, n := range needed {
		if effective&(1<<n.bit) == 0 {
			names = append(names, n.name)
		}
	}
	if len(names) > 0 {
		return fmt.Errorf("the agent has no %s: run it as root, with CAP_NET_ADMIN and CAP_SYS_ADMIN", strings.Join(names, " and no "))
	}
	return nil
}
