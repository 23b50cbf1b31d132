package link

import (
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzRoute: messages of a kernel that this was not written for.
func FuzzRoute(f *testing.F) {
	f.Add([]byte{})
	f.Add(append([]byte{unix.AF_INET, 32, 0, 0, unix.RT_TABLE_MAIN, 0, 0, 0, 0, 0, 0, 0}, 8, 0, unix.RTA_DST, 0, 10, 42, 0, 9, 8, 0, unix.RTA_OIF, 0, 1, 0, 0, 0, 2, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if dst, _, ok := parseRoute(b); ok && !dst.IsValid() {
			t.Errorf("%x is a route to nowhere", b)
		}
	})
}
