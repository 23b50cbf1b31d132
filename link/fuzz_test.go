package link

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// FuzzReceived: routes of a kernel that this was not written for, and answers to pings, which other hosts and their containers send.
func FuzzReceived(f *testing.F) {
	p := &Pinger{cookie: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}}
	f.Add([]byte{})
	f.Add(append([]byte{unix.AF_INET, 32, 0, 0, unix.RT_TABLE_MAIN, 0, 0, 0, 0, 0, 0, 0}, 8, 0, unix.RTA_DST, 0, 10, 42, 0, 9, 8, 0, unix.RTA_OIF, 0, 1, 0, 0, 0, 2, 0, 0, 0))
	f.Add([]byte{unix.AF_INET, 48, 0, 0, unix.RT_TABLE_MAIN, RouteProtocol, 0, 0, 0, 0, 0, 0}) // more bits than an address has
	f.Add(append([]byte{icmpEchoReply, 0, 0, 0, 0x6d, 0x73, 0, 1}, append(p.cookie[:], 0, 0, 0, 0, 0, 0, 0, 1)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if dst, _, ok := parseRoute(b); ok && !dst.IsValid() {
			t.Errorf("%x is a route to nowhere", b)
		}
		const now = time.Hour
		if r, ok := p.parse(b, now); ok && (r.Size != ipHeader+len(b) || r.RTT < 0 || r.RTT > now) {
			t.Errorf("%x is the answer %+v", b, r)
		}
	})
}
