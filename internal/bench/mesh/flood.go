package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/miekg/dns"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
	"github.com/meshsec/meshsec/link"
)

// flooded times one container's questions, while another on its host is quiet and while it floods, and what they cost the agent.
func flooded(ctx context.Context, length time.Duration) error {
	c, err := testnet.New(ctx, testnet.Options{Hosts: 1})
	if err != nil {
		return err
	}
	defer c.Close()
	engines, err := startAgents(ctx, c)
	if err != nil {
		return err
	}
	a, err := startAsker(ctx, engines[0])
	if err != nil {
		return err
	}
	defer a.Close()
	flooder, err := engines[0].StartContainer(ctx, 1)
	if err != nil {
		return err
	}
	if err := a.until(ctx, flooder.Addr).err; err != nil {
		return err
	}
	for _, flood := range []bool{false, true} {
		before, err := usageOf(c.Hosts[0])
		if err != nil {
			return err
		}
		sent := make(chan result, 1)
		if flood {
			go func() { sent <- floodFrom(ctx, flooder, length) }()
		} else {
			sent <- result{}
		}
		begun := time.Now()
		took, lost, err := a.times(flooder.Addr, length)
		if err != nil {
			return err
		}
		after, err := usageOf(c.Hosts[0])
		if err != nil {
			return err
		}
		share := (after.cpu - before.cpu).Seconds() / time.Since(begun).Seconds()
		r := <-sent
		if r.err != nil {
			return r.err
		}
		var status control.Status
		if err := c.Hosts[0].MeshsecJSON(ctx, &status, "status"); err != nil {
			return err
		}
		fmt.Printf("| %.0f | %d | %s | %d of %d | %.2f |\n", float64(r.sent)/length.Seconds(), status.Drops["container-flood-udp-53"], spread(took), lost, len(took)+lost, share)
	}
	return nil
}

// result is how many questions a flood had.
type result struct {
	sent int
	err  error
}

// floodFrom runs this command in the container, as the one that floods.
func floodFrom(ctx context.Context, c *testnet.Container, length time.Duration) (r result) {
	self, err := os.Executable()
	if err != nil {
		return result{err: err}
	}
	out, err := c.Run(ctx, self, "-flood", length.String())
	if err != nil {
		return result{err: err}
	}
	r.sent, r.err = strconv.Atoi(out)
	return r
}

// flood asks as fast as it can, reads no answer, and prints how often it has asked.
func flood(length time.Duration) error {
	conn, err := net.Dial("udp4", netip.AddrPortFrom(link.ServiceAddr, 53).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	question, err := new(dns.Msg).SetQuestion("c0.", dns.TypeA).Pack()
	if err != nil {
		return err
	}
	sent := 0
	for end := time.Now().Add(length); time.Now().Before(end); {
		for range 100 {
			if _, err := conn.Write(question); err == nil {
				sent++
			}
		}
	}
	fmt.Println(sent)
	return nil
}

// times asks about an address every pauseOfTimes for so long, and says how long the answers took and how many there were not.
func (a *asker) times(addr netip.Addr, length time.Duration) (took []time.Duration, lost int, err error) {
	reverse, err := dns.ReverseAddr(addr.String())
	if err != nil {
		return nil, 0, err
	}
	q := new(dns.Msg).SetQuestion(reverse, dns.TypePTR)
	const pauseOfTimes = 2 * time.Millisecond
	for end := time.Now().Add(length); time.Now().Before(end); <-time.After(pauseOfTimes) {
		begun := time.Now()
		reply, err := a.ask(q)
		switch {
		case err != nil:
			return nil, 0, err
		case reply == nil:
			lost++
		default:
			took = append(took, time.Since(begun))
		}
	}
	return took, lost, nil
}
