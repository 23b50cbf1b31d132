package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/meshsec/meshsec/quota"
)

// amplification is how many times as long as a question the answer to a sender may be who is no container of this host, so
// that nobody vouches for his address.
const amplification = 3

// serveUDP answers datagrams, as many as are there with two system calls.
func (s *Server) serveUDP(ctx context.Context, conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	in, out := newBatch(), newBatch()
	for {
		err := receive(ctx, in, raw)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("dns: receive: %w", err)
		}
		z, now := s.zone(), time.Now()
		for i := range in.n {
			data, from, long := in.get(i)
			if long {
				s.counts.drop(dropLong)
				continue
			}
			if !s.limit.Allow(s.bucket(z, from.Addr()), now) {
				s.counts.drop(dropRate)
				continue
			}
			reply, later := s.answer(z, ask{data, from.Addr(), ownSize}, out.room())
			if later != nil {
				// The message has its own copy of the question; data is the next batch's.
				go func() {
					if b := later(ctx); b != nil {
						_, _ = conn.WriteToUDPAddrPort(b, from)
					}
				}()
				continue
			}
			if len(reply) > amplification*len(data) && z.Names.Asker(from.Addr()) == nil {
				s.counts.drop(dropUnproved)
				continue
			}
			if reply != nil {
				out.add(reply, in, i)
			}
		}
		if err := out.send(raw); err != nil && ctx.Err() == nil {
			return fmt.Errorf("dns: send: %w", err)
		}
	}
}

// receive waits for datagrams, also where the system has none to give just now.
func receive(ctx context.Context, in *batch, raw syscall.RawConn) error {
	var pause quota.Pause
	for {
		err := in.receive(raw)
		if err == nil || ctx.Err() != nil || !quota.Passing(err) {
			return err
		}
		pause.Wait(ctx.Done())
	}
}

// bucket is whose questions count together: each container's, and all strangers'.
func (s *Server) bucket(z Zone, from netip.Addr) netip.Addr {
	if z.Names.Asker(from) == nil {
		return netip.Addr{}
	}
	return from
}
