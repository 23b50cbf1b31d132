package underlay

import "sync/atomic"

// reason says why a datagram was not passed on or not sent.
type reason int

const (
	dropShort       reason = iota // fewer than four bytes and no keepalive
	dropTruncated                 // longer than the receive buffer
	dropNoHandler                 // nobody is set to receive it
	dropTooBig                    // EMSGSIZE: above the MTU of the link
	dropRefused                   // an ICMP error of an earlier datagram came back
	dropNoBuffer                  // ENOBUFS
	dropUnreachable               // no route to the peer, or the link is down
	dropSend                      // any other error in sending
	reasons
)

var reasonNames = [reasons]string{
	"short", "truncated", "no-handler", "too-big", "refused", "no-buffer", "unreachable", "send",
}

// drops counts datagrams by reason. Safe for concurrent use.
type drops [reasons]atomic.Uint64

func (d *drops) add(r reason, n int) { d[r].Add(uint64(n)) }

// count gives all counters that are not zero.
func (d *drops) count() map[string]uint64 {
	m := map[string]uint64{}
	for r := range d {
		if n := d[r].Load(); n > 0 {
			m[reasonNames[r]] = n
		}
	}
	return m
}
