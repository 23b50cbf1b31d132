package main

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLackingCapabilitiesAreNamed(t *testing.T) {
	const netAdmin, sysAdmin = 1 << unix.CAP_NET_ADMIN, 1 << unix.CAP_SYS_ADMIN
	for effective, want := range map[uint32]string{
		netAdmin | sysAdmin: "",
		sysAdmin | 1:        "has no CAP_NET_ADMIN:",
		netAdmin:            "has no CAP_SYS_ADMIN:",
		0:                   "has no CAP_NET_ADMIN and no CAP_SYS_ADMIN:",
	} {
		err := lacking(effective)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%x: %v, want %q", effective, err, want)
		}
	}
}
