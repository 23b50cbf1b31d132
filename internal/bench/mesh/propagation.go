package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/meshsec/meshsec/internal/testnet"
	"github.com/meshsec/meshsec/link"
)

// propagation makes endpoints on one of several agents without a dockerd, and times their routes on all the others.
func propagation(ctx context.Context, hosts, endpoints int) error {
	c, err := testnet.New(ctx, testnet.Options{Hosts: hosts})
	if err != nil {
		return err
	}
	defer c.Close()
	var agents []*testnet.Process
	token := ""
	for i, h := range c.Hosts {
		settings := []string{"ADVERTISE=" + h.Addr.String()}
		if i > 0 {
			if token, err = c.Hosts[0].Token(ctx); err != nil {
				return err
			}
			settings = append(settings, "JOIN="+token)
		}
		a, err := h.StartAgent(settings...)
		if err != nil {
			return err
		}
		agents = append(agents, a)
	}
	arrivals := make(chan arrival, hosts)
	var creator *testnet.Engine
	for i, h := range c.Hosts {
		e := testnet.NewEngine(h)
		if err := e.CreateNetwork(ctx); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", h.Name, err), errors.New(agents[i].Output()))
		}
		if i == 1 {
			creator = e
			continue
		}
		if err := watchRoutes(ctx, h, arrivals); err != nil {
			return err
		}
	}
	var took []time.Duration
	for i := range endpoints {
		prefix, err := creator.CreateEndpoint(ctx, i)
		if err != nil {
			return err
		}
		addr, start := prefix.Addr(), time.Now()
		for seen := 0; seen < hosts-1; {
			select {
			case a := <-arrivals:
				if a.addr == addr {
					took = append(took, max(a.at.Sub(start), 0))
					seen++
				}
			case <-time.After(10 * time.Second):
				return fmt.Errorf("%s is routed on %d of %d hosts after 10 s", addr, seen, hosts-1)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	founder, other := "", uint64(0)
	for i, h := range c.Hosts {
		rss, err := memory(ctx, h)
		if err != nil {
			return err
		}
		if i == 0 {
			founder = fmt.Sprintf("%.1f MiB", float64(rss)/1024)
		} else {
			other = max(other, rss)
		}
	}
	fmt.Printf("| %d | %d | %s | %s | %s | %s | %.1f MiB |\n", hosts, endpoints, ms(quantile(took, 0.5)), ms(quantile(took, 0.99)), ms(quantile(took, 1)),
		founder, float64(other)/1024)
	return nil
}

// memory is the resident set of a host's agent, in KiB.
func memory(ctx context.Context, h *testnet.Host) (uint64, error) {
	out, err := h.Run(ctx, "sh", "-c", `for p in /proc/[0-9]*; do case "$(tr '\0' ' ' <$p/cmdline 2>/dev/null)" in *"meshsec agent"*) grep VmRSS $p/status;; esac; done`)
	if err != nil {
		return 0, err
	}
	var most uint64
	for line := range strings.Lines(out) {
		var kib uint64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			most = max(most, kib)
		}
	}
	return most, nil
}

type arrival struct {
	addr netip.Addr
	at   time.Time
}

// watchRoutes tells of every route of ours that appears in a host's router namespace.
func watchRoutes(ctx context.Context, h *testnet.Host, out chan<- arrival) error {
	ns, err := netns.GetFromPath(h.Path("/run/meshsec/router"))
	if err != nil {
		return err
	}
	updates := make(chan netlink.RouteUpdate, 64)
	if err := netlink.RouteSubscribeAt(ns, updates, ctx.Done()); err != nil {
		return err
	}
	go func() {
		defer ns.Close()
		for u := range updates {
			if u.Protocol != link.RouteProtocol || u.Dst == nil {
				continue
			}
			if addr, ok := netip.AddrFromSlice(u.Dst.IP); ok {
				out <- arrival{addr.Unmap(), time.Now()}
			}
		}
	}()
	return nil
}
