package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/miekg/dns"

	"github.com/meshsec/meshsec/internal/testnet"
	"github.com/meshsec/meshsec/link"
)

// asker is what plays a container on a host, and asks its host's DNS.
type asker struct{ *dns.Conn }

// askEvery is how long an asker waits after an answer that does not know the address.
const askEvery = time.Millisecond

// startAsker starts it; it is known to its own DNS from then on.
func startAsker(ctx context.Context, e *testnet.Engine) (*asker, error) {
	var c *testnet.Container
	err := testnet.Until(ctx, time.Minute, func() (err error) { // the host's first block may not be there yet
		c, err = e.StartContainer(ctx, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	a := &asker{}
	err = c.Enter(func() (err error) {
		a.Conn, err = dns.Dial("udp4", netip.AddrPortFrom(link.ServiceAddr, 53).String())
		return err
	})
	if err != nil {
		return nil, err
	}
	return a, a.until(ctx, c.Addr).err
}

// answer is when DNS knew an address, or why it is not known when.
type answer struct {
	at  time.Time
	err error
}

// until asks whose address it is until DNS says so. Not for concurrent use.
func (a *asker) until(ctx context.Context, addr netip.Addr) answer {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	reverse, err := dns.ReverseAddr(addr.String())
	if err != nil {
		return answer{err: err}
	}
	ask := new(dns.Msg).SetQuestion(reverse, dns.TypePTR)
	for {
		reply, err := a.ask(ask)
		if err != nil {
			return answer{err: err}
		}
		if reply != nil && reply.Rcode == dns.RcodeSuccess && len(reply.Answer) > 0 {
			return answer{at: time.Now()}
		}
		select {
		case <-ctx.Done():
			return answer{err: fmt.Errorf("DNS does not know %s: %w", addr, ctx.Err())}
		case <-time.After(askEvery):
		}
	}
}

// ask returns the reply; none if it is lost.
func (a *asker) ask(q *dns.Msg) (*dns.Msg, error) {
	q.Id = dns.Id()
	if err := a.WriteMsg(q); err != nil {
		return nil, err
	}
	if err := a.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return nil, err
	}
	for {
		reply, err := a.ReadMsg()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, nil
		case err != nil:
			return nil, err
		case reply.Id == q.Id:
			return reply, nil
		}
	}
}
