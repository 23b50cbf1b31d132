package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/meshsec/meshsec/internal/testnet"
	"github.com/meshsec/meshsec/link"
)

// propagation makes endpoints on one of several agents without a dockerd, and times on all the others their routes, and DNS's first
// answer that knows them.
func propagation(ctx context.Context, hosts, endpoints int) error {
	c, err := testnet.New(ctx, testnet.Options{Hosts: hosts})
	if err != nil {
		return err
	}
	defer c.Close()
	engines, err := startAgents(ctx, c)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	arrivals := make(chan arrival, hosts)
	var askers []*asker
	for i, h := range c.Hosts {
		if i == creator {
			askers = append(askers, nil)
			continue
		}
		a, err := startAsker(ctx, engines[i])
		if err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		defer a.Close()
		askers = append(askers, a)
	}
	for i, h := range c.Hosts {
		if i != creator {
			if err := watchRoutes(ctx, h, i, arrivals); err != nil {
				return err
			}
		}
	}
	facts := make(chan arrival, hosts)
	if err := watchFacts(ctx, c.Hosts[0], facts); err != nil {
		return err
	}
	before, err := usages(c)
	if err != nil {
		return err
	}
	var written, routed, named, followed []time.Duration
	for i := range endpoints {
		prefix, err := engines[creator].CreateEndpoint(ctx, i)
		if err != nil {
			return err
		}
		addr, start := prefix.Addr(), time.Now()
		names := make(chan answer, hosts)
		var fact time.Time
		for routes := 0; routes < hosts-1 || fact.IsZero(); {
			select {
			case a := <-facts:
				if a.addr == addr {
					fact = a.at
					written = append(written, max(fact.Sub(start), 0))
				}
			case a := <-arrivals:
				if a.addr == addr {
					routed = append(routed, max(a.at.Sub(start), 0))
					routes++
					go func() { names <- askers[a.host].until(ctx, addr) }()
				}
			case <-time.After(10 * time.Second):
				return fmt.Errorf("%s is routed on %d of %d hosts 10 s after the last of them or the fact", addr, routes, hosts-1)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		for range hosts - 1 {
			a := <-names
			if a.err != nil {
				return a.err
			}
			named = append(named, max(a.at.Sub(start), 0))
			followed = append(followed, max(a.at.Sub(fact), 0))
		}
	}
	after, err := usages(c)
	if err != nil {
		return err
	}
	fmt.Printf("| %d | %d | %s | %s | %s | %s | %s |\n", hosts, endpoints, spread(written), spread(routed), spread(named), spread(followed),
		costs(before, after, endpoints))
	return nil
}

// creator is the host that the endpoints are made on: not the founder, which has etcd.
const creator = 1

// startAgents starts an agent on each host, and the network.
func startAgents(ctx context.Context, c *testnet.Cluster) (engines []*testnet.Engine, err error) {
	token := ""
	var agents []*testnet.Process
	for i, h := range c.Hosts {
		settings := []string{"ADVERTISE=" + h.Addr.String()}
		if i > 0 {
			if token, err = c.Hosts[0].Token(ctx); err != nil {
				return nil, err
			}
			settings = append(settings, "JOIN="+token)
		}
		a, err := h.StartAgent(settings...)
		if err != nil {
			return nil, err
		}
		agents = append(agents, a)
	}
	for i, h := range c.Hosts {
		e := testnet.NewEngine(h)
		if err := e.CreateNetwork(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", h.Name, err), errors.New(agents[i].Output()))
		}
		engines = append(engines, e)
	}
	return engines, nil
}

// spread is the middle and the end of a distribution, as cells of a table.
func spread(d []time.Duration) string {
	return fmt.Sprintf("%s | %s | %s", ms(quantile(d, 0.5)), ms(quantile(d, 0.99)), ms(quantile(d, 1)))
}

// arrival is a route that has appeared on a host, or a fact in etcd.
type arrival struct {
	host int
	addr netip.Addr
	at   time.Time
}

// watchRoutes tells of every route of ours that appears in a host's router namespace.
func watchRoutes(ctx context.Context, h *testnet.Host, i int, out chan<- arrival) error {
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
				out <- arrival{i, addr.Unmap(), time.Now()}
			}
		}
	}()
	return nil
}
